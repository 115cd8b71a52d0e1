"""One message from each protocol to each: pika, paho-mqtt (MQTT 5) and stomp.py in nine directions.

They meet at the exchange `amq.topic`: the AMQP key `a.b` is the MQTT topic `a/b` and the STOMP
destination `/topic/a.b`.
"""

import threading
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pika
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import BROKER, HOST, MQTT_PORT, PASSWORD, USER, case, check, equal, main, unique, wait_until
from pika_connection import connect
from stomp_connection import Peer

# Debian 12's RabbitMQ does not speak MQTT 5, and so carries no properties to and from MQTT.
MQTT_VERSION = mqtt.MQTTv311 if BROKER == "rabbitmq" else mqtt.MQTTv5

BODIES = {
    "empty": b"",
    "text": "grüße".encode(),
    "nul": b"a\x00b\x00",
    "invalid_utf8": b"\xff\xfe\xc3\x28\xed\xa0\x80",
    "one_mib": bytes(range(256)) * 4096,
}
CONTENT_TYPE, CORRELATION, HEADER = "application/x-trivium", "call-4711", ("colour", "deep red: \\ yes")


class Seen:
    """What a receiver of any protocol saw, in one form."""

    def __init__(self, address, body, content_type, correlation, header):
        self.address, self.body = address, body
        self.content_type, self.correlation, self.header = content_type, correlation, header


@contextmanager
def receive_amqp(words):
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.topic", ".".join(words))
        seen = []

        def on_delivery(_channel, method, properties, body):
            headers = properties.headers or {}
            seen.append(
                Seen(method.routing_key.split("."), body, properties.content_type,
                     properties.correlation_id, headers.get(HEADER[0]))
            )

        channel.basic_consume(queue, on_delivery, auto_ack=True)
        yield seen, lambda: connection.process_data_events(time_limit=0.02)


@contextmanager
def receive_mqtt(words):
    seen, subscribed = [], threading.Event()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, unique("cross"), protocol=MQTT_VERSION)
    client.username_pw_set(USER, PASSWORD)

    def on_message(_client, _userdata, message):
        properties = getattr(message, "properties", None)
        correlation = getattr(properties, "CorrelationData", None)
        seen.append(
            Seen(message.topic.split("/"), message.payload, getattr(properties, "ContentType", None),
                 correlation and correlation.decode(),
                 dict(getattr(properties, "UserProperty", [])).get(HEADER[0]))
        )

    client.on_message = on_message
    client.on_connect = lambda *_: client.subscribe("/".join(words), 1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(HOST, MQTT_PORT)
    client.loop_start()
    check(subscribed.wait(10), "MQTT subscription")
    yield seen, lambda: None
    client.disconnect()
    client.loop_stop()


@contextmanager
def receive_stomp(words):
    with Peer() as peer:
        seen = []

        def poll():
            while not peer.messages.empty():
                frame = peer.messages.get()
                headers = frame.headers
                seen.append(
                    Seen(headers["destination"].removeprefix("/topic/").split("."), frame.body,
                         headers.get("content-type"), headers.get("correlation-id"), headers.get(HEADER[0]))
                )

        peer.subscribe("/topic/" + ".".join(words))
        yield seen, poll


@contextmanager
def send_amqp():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        properties = pika.BasicProperties(
            content_type=CONTENT_TYPE, correlation_id=CORRELATION, headers=dict([HEADER])
        )
        yield lambda words, body: channel.basic_publish(
            "amq.topic", ".".join(words), body, properties, mandatory=True
        )


@contextmanager
def send_mqtt():
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, unique("cross"), protocol=MQTT_VERSION)
    client.username_pw_set(USER, PASSWORD)
    client.connect(HOST, MQTT_PORT)
    client.loop_start()
    properties = None
    if MQTT_VERSION == mqtt.MQTTv5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = CONTENT_TYPE
        properties.CorrelationData = CORRELATION.encode()
        properties.UserProperty = HEADER

    def send(words, body):
        info = client.publish("/".join(words), body, 1, properties=properties)
        info.wait_for_publish(10)
        check(info.is_published(), "PUBACK")

    yield send
    client.disconnect()
    client.loop_stop()


@contextmanager
def send_stomp():
    with Peer() as peer:
        headers = dict([("content-type", CONTENT_TYPE), ("correlation-id", CORRELATION), HEADER])
        yield lambda words, body: peer.send("/topic/" + ".".join(words), body, **headers)


def exchange(sender, receiver, carries_properties):
    words = [unique("cross"), "room 1", "temperature"]
    with receiver(words) as (seen, poll), sender() as send:
        for count, (name, body) in enumerate(BODIES.items(), 1):
            send(words, body)
            wait_until(lambda: poll() or len(seen) >= count, f"the {name} body")
            got = seen[-1]
            check(got.body == body, f"{name}: {len(body)} bytes {body[:8]!r}, saw {len(got.body)}: {got.body[:8]!r}")
            equal(got.address, words, f"{name}: address")
            if carries_properties:
                equal(got.content_type, CONTENT_TYPE, f"{name}: content type")
                equal(got.correlation, CORRELATION, f"{name}: correlation")
                equal(got.header, HEADER[1], f"{name}: header")
        equal(len(seen), len(BODIES), "messages")


def all_directions():
    senders = {"amqp": send_amqp, "mqtt": send_mqtt, "stomp": send_stomp}
    receivers = {"amqp": receive_amqp, "mqtt": receive_mqtt, "stomp": receive_stomp}
    for source, sender in senders.items():
        for target, receiver in receivers.items():
            through_mqtt = "mqtt" in (source, target)
            carries = not (through_mqtt and MQTT_VERSION == mqtt.MQTTv311)

            def run(sender=sender, receiver=receiver, carries=carries):
                exchange(sender, receiver, carries)

            run.__name__ = f"{source}_to_{target}"
            case(run)


all_directions()


@case
def one_publish_reaches_all_three():
    words = [unique("cross"), "all"]
    with receive_amqp(words) as (amqp, poll_amqp), receive_mqtt(words) as (devices, _), \
            receive_stomp(words) as (stomp, poll_stomp), send_amqp() as send:
        send(words, b"to everybody")

        def everybody():
            poll_amqp()
            poll_stomp()
            return [len(amqp), len(devices), len(stomp)] == [1, 1, 1]

        wait_until(everybody, "one delivery in each protocol")


@case
def a_queue_is_shared_between_amqp_and_stomp():
    """STOMP's /queue/q is AMQP's queue q: what one declares, the other consumes."""
    name = unique("shared")
    with Peer() as peer, connect() as connection:
        channel = connection.channel()
        peer.send(f"/queue/{name}", b"from stomp")
        body = channel.basic_get(name, auto_ack=True)[2]
        equal(body, b"from stomp", "at AMQP")
        peer.subscribe(f"/queue/{name}")
        channel.basic_publish("", name, b"from amqp")
        equal(peer.next().body, b"from amqp", "at STOMP")
        # Declared by STOMP as RabbitMQ's plugin does: durable, kept.
        equal(channel.queue_declare(name, durable=True).method.consumer_count, 1, "consumers")
        peer.connection.disconnect(receipt="bye")
        wait_until(lambda: channel.queue_declare(name, passive=True).method.consumer_count == 0, "consumer gone")
        channel.queue_delete(name)


main("cross-protocol")

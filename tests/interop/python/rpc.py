"""Calls across protocols: a requester of one, a responder of another that knows nothing of it.

Each responder is as its protocol's own guide writes it: pika's tutorial six, an MQTT 5 client that
answers to the Response Topic with the Correlation Data, a STOMP client that answers to `reply-to`.
"""

import threading
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pika
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import HOST, MQTT_PORT, PASSWORD, USER, case, check, equal, main, unique, wait_until
from pika_connection import connect
from stomp_connection import Peer


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@contextmanager
def device():
    """An MQTT 5 client with its inbox."""
    messages, subscribed = [], threading.Event()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, unique("rpc"), protocol=mqtt.MQTTv5)
    client.username_pw_set(USER, PASSWORD)
    client.on_message = lambda _client, _userdata, message: messages.append(message)
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(HOST, MQTT_PORT)
    client.loop_start()

    def subscribe(topic):
        subscribed.clear()
        client.subscribe(topic, 1)
        check(subscribed.wait(10), f"subscribed to {topic}")

    client.subscribe_and_wait = subscribe
    yield client, messages
    client.disconnect()
    client.loop_stop()


# ---- responders ----------------------------------------------------------------------------


@contextmanager
def amqp_responder(name):
    """rpc_server.py of pika's tutorial six, but for the queue's name and its end."""
    ready, stop = threading.Event(), threading.Event()

    def serve():
        with connect() as connection:
            channel = connection.channel()
            channel.queue_declare(queue=name)

            def on_request(ch, method, props, body):
                n = int(body)
                response = fib(n)
                ch.basic_publish(exchange="",
                                 routing_key=props.reply_to,
                                 properties=pika.BasicProperties(correlation_id=props.correlation_id),
                                 body=str(response))
                ch.basic_ack(delivery_tag=method.delivery_tag)

            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(queue=name, on_message_callback=on_request)
            ready.set()
            while not stop.is_set():
                connection.process_data_events(time_limit=0.05)
            channel.queue_delete(name)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    check(ready.wait(10), "the responder consumes")
    yield
    stop.set()
    thread.join(10)


@contextmanager
def mqtt_responder(topic):
    with device() as (client, _):

        def on_request(_client, _userdata, message):
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = message.properties.CorrelationData
            answer = str(fib(int(message.payload)))
            client.publish(message.properties.ResponseTopic, answer, 1, properties=properties)

        client.on_message = on_request
        client.subscribe_and_wait(topic)
        yield


@contextmanager
def stomp_responder(destination):
    with Peer() as peer:

        def on_message(frame):
            headers = frame.headers
            answer = str(fib(int(frame.body))).encode()
            peer.send(headers["reply-to"], answer, **{"correlation-id": headers["correlation-id"]})
            peer.connection.ack(headers["ack"])

        # Answered in a thread of its own: stomp.py waits for receipts where it calls listeners.
        peer.on_message = lambda frame: threading.Thread(target=on_message, args=(frame,)).start()
        peer.subscribe(destination, ack="client-individual")
        yield


# ---- requesters ----------------------------------------------------------------------------


def call_from_amqp(exchange, key, reply_queue):
    """`reply_queue` is one of the requester's own, or RabbitMQ's direct reply-to."""
    with connect() as connection:
        channel = connection.channel()
        answers = []
        if reply_queue is None:
            reply_queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_consume(reply_queue, lambda _c, _m, properties, body: answers.append(
            (properties.correlation_id, body)), auto_ack=True)
        for count, n in enumerate((5, 10), 1):
            properties = pika.BasicProperties(reply_to=reply_queue, correlation_id=f"call-{n}")
            channel.basic_publish(exchange, key, str(n), properties)
            wait_until(lambda: connection.process_data_events(time_limit=0.02) or len(answers) >= count, "an answer")
        equal(answers, [("call-5", b"5"), ("call-10", b"55")], "answers")


def call_from_mqtt(topic, reply_topic):
    with device() as (client, messages):
        client.subscribe_and_wait(reply_topic)
        for count, n in enumerate((5, 10), 1):
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = reply_topic
            properties.CorrelationData = f"call-{n}".encode()
            client.publish(topic, str(n), 1, properties=properties)
            wait_until(lambda: len(messages) >= count, "an answer")
        seen = [(message.topic, message.properties.CorrelationData, message.payload) for message in messages]
        equal(seen, [(reply_topic, b"call-5", b"5"), (reply_topic, b"call-10", b"55")], "answers")


def call_from_stomp(destination):
    reply_to = f"/temp-queue/{unique('answers')}"
    with Peer() as peer:
        for n, expected in ((5, b"5"), (10, b"55")):
            peer.send(destination, str(n).encode(), **{"reply-to": reply_to, "correlation-id": f"call-{n}"})
            answer = peer.next()
            equal((answer.headers["correlation-id"], answer.body), (f"call-{n}", expected), "answer")


# ---- the six pairs, and the other kinds of reply address ----------------------------------------


@case
def amqp_calls_mqtt():
    name = unique("rpc")
    with mqtt_responder(f"{name}/fib"):
        call_from_amqp("amq.topic", f"{name}.fib", None)


@case
def amqp_calls_mqtt_by_direct_reply_to():
    name = unique("rpc")
    with mqtt_responder(f"{name}/fib"):
        call_from_amqp("amq.topic", f"{name}.fib", "amq.rabbitmq.reply-to")


@case
def amqp_calls_stomp():
    name = unique("rpc")
    with stomp_responder(f"/queue/{name}"):
        call_from_amqp("", name, None)


@case
def amqp_calls_stomp_by_direct_reply_to():
    name = unique("rpc")
    with stomp_responder(f"/queue/{name}"):
        call_from_amqp("", name, "amq.rabbitmq.reply-to")


@case
def mqtt_calls_amqp():
    name = unique("rpc")
    with amqp_responder(name):
        call_from_mqtt(f"$queue/{name}", unique("answers") + "/here")


@case
def mqtt_calls_stomp():
    name = unique("rpc")
    with stomp_responder(f"/queue/{name}"):
        call_from_mqtt(f"$queue/{name}", unique("answers") + "/here")


@case
def stomp_calls_amqp():
    name = unique("rpc")
    with amqp_responder(name):
        call_from_stomp(f"/amq/queue/{name}")


@case
def stomp_calls_mqtt():
    name = unique("rpc")
    with mqtt_responder(f"{name}/fib"):
        call_from_stomp(f"/topic/{name}.fib")


@case
def a_group_of_mqtt_responders_shares_the_calls():
    name = unique("rpc")
    with mqtt_responder(f"$share/workers/{name}/fib"), mqtt_responder(f"$share/workers/{name}/fib"):
        call_from_amqp("amq.topic", f"{name}.fib", None)
        call_from_stomp(f"/topic/{name}.fib")


main("rpc")

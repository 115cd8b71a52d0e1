"""A fixed exchange over all three protocols, and how far each counter has to rise by it.

The numbers are literal on purpose: what a person counts in the functions below.
"""

import queue
from contextlib import ExitStack, contextmanager

import paho.mqtt.client as mqtt
import pika

from harness import HOST, PASSWORD, USER, check, equal, unique
from pika_connection import collect, connect
from stomp_connection import Peer

BODY = b"0123456789"

# Metric and labels: the rise. What is not named must not rise at all.
RISES = {
    ("rabbitmq_global_messages_received_total", "amqp091"): 10 + 5 + 2 + 4 + 3 + 3,
    ("rabbitmq_global_messages_received_total", "mqtt"): 6 + 5 + 3,
    ("rabbitmq_global_messages_received_total", "stomp"): 7 + 2,
    ("rabbitmq_global_messages_received_confirm_total", "amqp091"): 5 + 1,
    ("rabbitmq_global_messages_received_confirm_total", "mqtt"): 5 + 1,
    ("rabbitmq_global_messages_received_confirm_total", "stomp"): 7,
    ("rabbitmq_global_messages_confirmed_total", "amqp091"): 5 + 1,
    ("rabbitmq_global_messages_confirmed_total", "mqtt"): 5 + 1,
    ("rabbitmq_global_messages_confirmed_total", "stomp"): 7,
    ("rabbitmq_global_messages_routed_total", "amqp091"): 10 + 5 + 4 + 3 + 3,
    ("rabbitmq_global_messages_routed_total", "mqtt"): 6 + 5,
    ("rabbitmq_global_messages_routed_total", "stomp"): 7,
    ("rabbitmq_global_messages_unroutable_dropped_total", "amqp091"): 1,
    ("rabbitmq_global_messages_unroutable_dropped_total", "mqtt"): 3,
    ("rabbitmq_global_messages_unroutable_dropped_total", "stomp"): 2,
    ("rabbitmq_global_messages_unroutable_returned_total", "amqp091"): 1,
    ("rabbitmq_global_messages_delivered_total", "amqp091"): 17 + 4 + 4,
    ("rabbitmq_global_messages_delivered_total", "mqtt"): 6 + 5 + 3,
    ("rabbitmq_global_messages_delivered_total", "stomp"): 3 + 5,
    ("rabbitmq_global_messages_delivered_consume_manual_ack_total", "amqp091"): 15 + 2,
    ("rabbitmq_global_messages_delivered_consume_manual_ack_total", "mqtt"): 5,
    ("rabbitmq_global_messages_delivered_consume_manual_ack_total", "stomp"): 4 + 1,
    ("rabbitmq_global_messages_delivered_consume_auto_ack_total", "amqp091"): 4,
    ("rabbitmq_global_messages_delivered_consume_auto_ack_total", "mqtt"): 6 + 3,
    ("rabbitmq_global_messages_delivered_consume_auto_ack_total", "stomp"): 3,
    ("rabbitmq_global_messages_delivered_get_manual_ack_total", "amqp091"): 2,
    ("rabbitmq_global_messages_delivered_get_auto_ack_total", "amqp091"): 2,
    ("rabbitmq_global_messages_get_empty_total", "amqp091"): 1,
    ("rabbitmq_global_messages_redelivered_total", "amqp091"): 2 + 1,
    ("rabbitmq_global_messages_redelivered_total", "stomp"): 1,
    ("rabbitmq_global_messages_acknowledged_total", "amqp091"): 14 + 1,
    ("rabbitmq_global_messages_acknowledged_total", "mqtt"): 5,
    ("rabbitmq_global_messages_acknowledged_total", "stomp"): 3,
    ("rabbitmq_global_messages_dead_lettered_rejected_total", "disabled"): 1 + 1,
    ("trivium_messages_rejected_total", "amqp"): 1,
    ("trivium_messages_rejected_total", "stomp"): 1,
    ("trivium_messages_requeued_total", "amqp"): 2 + 1,
    ("trivium_messages_requeued_total", "stomp"): 1,
    ("trivium_messages_received_bytes_total", "amqp"): 27 * len(BODY),
    ("trivium_messages_received_bytes_total", "mqtt"): 14 * len(BODY),
    ("trivium_messages_received_bytes_total", "stomp"): 9 * len(BODY),
    ("trivium_conversion_loss_total", "amqp", "mqtt", "header"): 3,
    ("trivium_connections_opened_total", "amqp"): 3,
    ("trivium_connections_opened_total", "mqtt"): 3,
    ("trivium_connections_opened_total", "stomp"): 1,
    ("rabbitmq_connections_opened_total",): 7,
    ("rabbitmq_connections_closed_total",): 7,
    ("rabbitmq_auth_attempts_total", "amqp091"): 3 + 1,
    ("rabbitmq_auth_attempts_total", "mqtt"): 3,
    ("rabbitmq_auth_attempts_total", "stomp"): 1,
    ("rabbitmq_auth_attempts_succeeded_total", "amqp091"): 3,
    ("rabbitmq_auth_attempts_succeeded_total", "mqtt"): 3,
    ("rabbitmq_auth_attempts_succeeded_total", "stomp"): 1,
    ("rabbitmq_auth_attempts_failed_total", "amqp091"): 1,
}

# What `held_open` keeps: two connections of AMQP with three channels, one of MQTT, one of STOMP. A
# subscription at QoS 1 is a queue and its consumer; one at QoS 0 is neither.
HELD = {
    ("rabbitmq_connections",): 4,
    ("rabbitmq_channels",): 3,
    ("rabbitmq_queues",): 2 + 1,
    ("rabbitmq_consumers",): 2 + 1,
    ("rabbitmq_queue_messages",): 7 + 4,
    ("rabbitmq_queue_messages_ready",): 7,
    ("rabbitmq_queue_messages_unacked",): 4,
    ("trivium_connections_open", "amqp"): 2,
    ("trivium_connections_open", "mqtt"): 1,
    ("trivium_connections_open", "stomp"): 1,
    ("trivium_sessions_open", "amqp"): 3,
    ("trivium_sessions_open", "mqtt"): 1,
    ("trivium_sessions_open", "stomp"): 1,
    ("trivium_exchanges",): 1,
    ("trivium_retained_messages",): 1,
}


def exchange_everything(ports):
    amqp_consumes(ports["amqp"])
    amqp_gets(ports["amqp"])
    amqp_is_refused(ports["amqp"])
    mqtt_both_qualities(ports["mqtt"])
    stomp_all_acknowledgements(ports["stomp"])
    amqp_long_header_to_mqtt(ports)


def amqp_consumes(port):
    with connect(port) as connection:
        channel = connection.channel()
        name = channel.queue_declare("", exclusive=True).method.queue
        for _ in range(10):
            channel.basic_publish("", name, BODY)
        channel.basic_publish("", unique("nowhere"), BODY)
        confirming = connection.channel()
        confirming.confirm_delivery()
        for _ in range(5):
            confirming.basic_publish("", name, BODY, mandatory=True)
        try:
            confirming.basic_publish("", unique("nowhere"), BODY, mandatory=True)
            raise AssertionError("no return")
        except pika.exceptions.UnroutableError:
            pass

        tags = []
        consumer = channel.basic_consume(name, lambda _channel, method, *_: tags.append(method))
        collect(connection, tags, 15)
        channel.basic_ack(tags[9].delivery_tag, multiple=True)
        channel.basic_ack(tags[10].delivery_tag)
        channel.basic_ack(tags[11].delivery_tag)
        channel.basic_nack(tags[12].delivery_tag, requeue=True)
        channel.basic_nack(tags[13].delivery_tag, requeue=True)
        channel.basic_reject(tags[14].delivery_tag, requeue=False)
        collect(connection, tags, 17)
        check(tags[15].redelivered and tags[16].redelivered, "delivered again")
        channel.basic_ack(0, multiple=True)
        channel.basic_cancel(consumer)

        name, seen = channel.queue_declare("", exclusive=True).method.queue, []
        channel.basic_consume(name, lambda *delivery: seen.append(delivery), auto_ack=True)
        for _ in range(4):
            channel.basic_publish("", name, BODY)
        collect(connection, seen, 4)


def amqp_gets(port):
    with connect(port) as connection:
        channel = connection.channel()
        name = channel.queue_declare("", exclusive=True).method.queue
        for _ in range(3):
            channel.basic_publish("", name, BODY)
        channel.basic_ack(channel.basic_get(name)[0].delivery_tag)
        channel.basic_get(name, auto_ack=True)
        channel.basic_nack(channel.basic_get(name)[0].delivery_tag, requeue=True)
        check(channel.basic_get(name, auto_ack=True)[0].redelivered, "taken again")
        equal(channel.basic_get(name)[0], None, "the queue is empty")


def amqp_is_refused(port):
    try:
        connect(port, credentials=pika.PlainCredentials(USER, "not " + PASSWORD)).close()
    except pika.exceptions.AMQPConnectionError:
        return
    raise AssertionError("the wrong password was accepted")


@contextmanager
def device(port, version):
    """A connected client and its inbox."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, unique("traffic"), protocol=version)
    client.username_pw_set(USER, PASSWORD)
    messages, answers = queue.Queue(), queue.Queue()
    client.on_message = lambda _client, _userdata, message: messages.put(message)
    client.on_connect = client.on_subscribe = client.on_unsubscribe = lambda *answer: answers.put(answer)
    client.connect(HOST, port)
    client.loop_start()
    answers.get(timeout=10)
    client.answer = lambda: answers.get(timeout=10)
    try:
        yield client, messages
    finally:
        client.disconnect()
        client.loop_stop()


def mqtt_both_qualities(port):
    base = unique("traffic")
    with device(port, mqtt.MQTTv5) as (listener, messages), device(port, mqtt.MQTTv311) as (speaker, _):
        for quality in (0, 1):
            listener.subscribe(f"{base}/{quality}", quality)
            listener.answer()
        sent = [speaker.publish(f"{base}/0", BODY, 0) for _ in range(6)]
        sent += [speaker.publish(f"{base}/1", BODY, 1) for _ in range(5)]
        sent += [speaker.publish(f"{base}/nobody", BODY, quality) for quality in (0, 0, 1)]
        for publish in sent:
            publish.wait_for_publish(10)
        for _ in range(11):
            messages.get(timeout=10)
        # Whoever handles the answer has sent the acknowledgements before it.
        listener.unsubscribe(f"{base}/1")
        listener.answer()


def stomp_all_acknowledgements(port):
    with Peer(port=port) as peer:
        destination = f"/queue/{unique('traffic')}"
        peer.subscribe(destination)
        for _ in range(3):
            peer.send(destination, BODY)
        for _ in range(3):
            peer.next()
        destination = f"/queue/{unique('traffic')}"
        peer.subscribe(destination, "each", "client-individual")
        for _ in range(4):
            peer.send(destination, BODY)
        frames = [peer.next() for _ in range(4)]
        for frame in frames[:3]:
            peer.ack(frame)
        peer.nack(frames[3])
        peer.nack(peer.next(), requeue="false")
        for _ in range(2):
            peer.connection.send(f"/topic/{unique('nobody')}", BODY)


def amqp_long_header_to_mqtt(ports):
    """MQTT has no place for a header of more than 65,535 octets: it is left out, and counted."""
    base = unique("traffic")
    with device(ports["mqtt"], mqtt.MQTTv5) as (listener, messages), connect(ports["amqp"]) as connection:
        listener.subscribe(f"{base}/loss", 0)
        listener.answer()
        properties = pika.BasicProperties(headers={"long": "x" * 70_000, "colour": "red"})
        channel = connection.channel()
        for _ in range(3):
            channel.basic_publish("amq.topic", f"{base}.loss", BODY, properties)
        for _ in range(3):
            got = messages.get(timeout=10).properties
            equal(getattr(got, "UserProperty", None), [("colour", "red")], "what MQTT can carry")


@contextmanager
def held_open(ports):
    """Connections, channels, queues and messages that stay as long as the `with` block."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(connect(ports["amqp"])) for _ in range(2))
        channel, waiting = first.channel(), second.channel()
        second.channel()
        exchange = unique("held")
        channel.exchange_declare(exchange, auto_delete=True)
        ready = channel.queue_declare("", exclusive=True).method.queue
        unacknowledged = waiting.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(ready, exchange, "key")
        for _ in range(7):
            channel.basic_publish(exchange, "key", BODY)
        for _ in range(4):
            waiting.basic_publish("", unacknowledged, BODY)
        seen = []
        waiting.basic_consume(unacknowledged, lambda *delivery: seen.append(delivery))
        waiting.basic_consume(unacknowledged, lambda *delivery: seen.append(delivery))
        collect(second, seen, 4)
        equal(channel.queue_declare(ready, passive=True).method.message_count, 7, "ready")

        device_here, _ = stack.enter_context(device(ports["mqtt"], mqtt.MQTTv5))
        topic = unique("held")
        for quality in (0, 1):
            device_here.subscribe(f"{topic}/{quality}", quality)
            device_here.answer()
        device_here.publish(topic, BODY, 1, retain=True).wait_for_publish(10)
        stack.callback(lambda: device_here.publish(topic, b"", 1, retain=True).wait_for_publish(10))
        stack.enter_context(Peer(port=ports["stomp"]))
        yield

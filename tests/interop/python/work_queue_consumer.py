"""One consumer of a work queue: `work_queue_consumer.py PROTOCOL QUEUE settle|hold`.

Says `ready`, works until SIGTERM, then prints the number of every message it settled. With `hold`
it settles nothing: work_queue.py kills it.
"""

import signal
import sys
import threading

import paho.mqtt.client as mqtt

from harness import HOST, MQTT_PORT, PASSWORD, USER, unique
from pika_connection import connect
from stomp_connection import Peer

protocol, queue, mode = sys.argv[1:]
numbers, stop = [], threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
settles = mode == "settle"
PREFETCH = 50


def amqp():
    with connect() as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)

        def on_task(_channel, method, _properties, body):
            if settles:
                numbers.append(int(body))
                channel.basic_ack(method.delivery_tag)

        channel.basic_consume(queue, on_task)
        print("ready", flush=True)
        while not stop.is_set():
            connection.process_data_events(time_limit=0.1)


def device():
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, unique("worker"), protocol=mqtt.MQTTv5,
                         manual_ack=True)
    client.username_pw_set(USER, PASSWORD)

    def on_message(_client, _userdata, message):
        if settles:
            numbers.append(int(message.payload))
            client.ack(message.mid, message.qos)

    client.on_message = on_message
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_connect = lambda *_: client.subscribe(f"$queue/{queue}", 1)
    properties = mqtt.Properties(mqtt.PacketTypes.CONNECT)
    properties.ReceiveMaximum = PREFETCH
    client.connect(HOST, MQTT_PORT, properties=properties)
    client.loop_start()
    stop.wait()
    client.disconnect()
    client.loop_stop()


def stomp():
    with Peer() as peer:

        def on_message(frame):
            if settles:
                numbers.append(int(frame.body))
                peer.connection.ack(frame.headers["ack"])

        peer.on_message = on_message
        # As RabbitMQ's plugin asks for it; declared elsewhere, so it must only exist.
        peer.subscribe(f"/amq/queue/{queue}", ack="client-individual",
                       **{"prefetch-count": str(PREFETCH)})
        print("ready", flush=True)
        stop.wait()


{"amqp": amqp, "mqtt": device, "stomp": stomp}[protocol]()
print(*numbers, sep="\n")

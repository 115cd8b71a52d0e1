"""A worker that takes a task and never finishes it: pika_tutorials.py kills it in the middle."""

import sys
import time

import pika

from harness import AMQP_PORT, HOST, PASSWORD, USER

queue = sys.argv[1]
connection = pika.BlockingConnection(
    pika.ConnectionParameters(HOST, AMQP_PORT, credentials=pika.PlainCredentials(USER, PASSWORD))
)
channel = connection.channel()
channel.basic_qos(prefetch_count=1)


def on_task(_channel, _method, _properties, body):
    print("took", body.decode(), flush=True)
    time.sleep(3600)


channel.basic_consume(queue=queue, on_message_callback=on_task)
channel.start_consuming()

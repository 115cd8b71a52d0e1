"""The program that must run unmodified on a fresh start: default host, default port, no options.

It is deliberately free of the harness: what stands here is what a newcomer types. It ends itself
once it received what it sent.
"""

from pika import BlockingConnection, ConnectionParameters

connection = BlockingConnection(ConnectionParameters('localhost'))
channel = connection.channel()
channel.queue_declare(queue='hello')
channel.exchange_declare(exchange='logs', exchange_type='fanout')
channel.basic_publish(exchange='', routing_key='hello', body='Hello World!')
channel.basic_publish(exchange='logs', routing_key='', body='info: Hello World!')


def callback(ch, method, properties, body):
    print(f" [x] Received {body!r}")
    ch.stop_consuming()


channel.basic_consume(queue='hello', on_message_callback=callback, auto_ack=True)
channel.start_consuming()
connection.close()

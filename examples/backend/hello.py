"""One message through one queue.

python hello.py send
python hello.py receive
"""

import sys

from broker import connect

QUEUE = "examples.hello"


def send():
    with connect() as connection:
        channel = connection.channel()
        # Declaring is idempotent: whoever comes first creates the queue. Both sides do it, so
        # that neither has to be started first.
        channel.queue_declare(queue=QUEUE)
        # The default exchange, "", hands a message to the queue that its routing key names.
        channel.basic_publish(exchange="", routing_key=QUEUE, body="hello, world")
        print(" [x] sent 'hello, world'")


def receive():
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue=QUEUE)

        def on_message(channel, method, properties, body):
            print(f" [x] received {body.decode()!r}")
            channel.stop_consuming()  # one is enough for a hello

        # auto_ack: the broker forgets a message once it is on its way to us. work_queue.py shows
        # what to do where a message must not be lost.
        channel.basic_consume(queue=QUEUE, on_message_callback=on_message, auto_ack=True)
        channel.start_consuming()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send"]:
            send()
        case ["receive"]:
            receive()
        case _:
            sys.exit(__doc__)

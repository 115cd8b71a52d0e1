"""Everybody who listens gets a copy.

python publish_subscribe.py follow      # in as many terminals as you like
python publish_subscribe.py announce "we close at six"
"""

import sys

from broker import connect, consume_forever

EXCHANGE = "examples.announcements"


def announce(text):
    with connect() as connection:
        channel = connection.channel()
        # A publisher knows an exchange and no queues; a fanout exchange copies to all of its own.
        channel.exchange_declare(exchange=EXCHANGE, exchange_type="fanout")
        channel.basic_publish(exchange=EXCHANGE, routing_key="", body=text)
        print(f" [x] announced {text!r}")


def follow():
    def on_message(channel, method, properties, body):
        print(f" [x] heard {body.decode()!r}")

    def subscribe(channel):
        channel.exchange_declare(exchange=EXCHANGE, exchange_type="fanout")
        # A queue of our own: the broker makes up its name, nobody else may use it, and it goes
        # when we go. What is announced while nobody follows is for nobody.
        queue = channel.queue_declare(queue="", exclusive=True).method.queue
        channel.queue_bind(exchange=EXCHANGE, queue=queue)
        channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
        print(" [*] listening, Ctrl-C ends")

    consume_forever(subscribe)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["follow"]:
            follow()
        case ["announce", text]:
            announce(text)
        case _:
            sys.exit(__doc__)

"""Each subscriber says which kinds of message it wants.

python routing.py follow warning error
python routing.py log error "disk full"
"""

import sys

from broker import connect, consume_forever

EXCHANGE = "examples.logs"


def log(severity, text):
    with connect() as connection:
        channel = connection.channel()
        # A direct exchange compares the routing key with the key of each binding.
        channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
        channel.basic_publish(exchange=EXCHANGE, routing_key=severity, body=text)
        print(f" [x] logged {severity}: {text}")


def follow(severities):
    def on_message(channel, method, properties, body):
        print(f" [x] {method.routing_key}: {body.decode()}")

    def subscribe(channel):
        channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
        queue = channel.queue_declare(queue="", exclusive=True).method.queue
        for severity in severities:  # a queue may have many bindings
            channel.queue_bind(exchange=EXCHANGE, queue=queue, routing_key=severity)
        channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
        print(f" [*] following {', '.join(severities)}, Ctrl-C ends")

    consume_forever(subscribe)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["follow", *severities] if severities:
            follow(severities)
        case ["log", severity, text]:
            log(severity, text)
        case _:
            sys.exit(__doc__)

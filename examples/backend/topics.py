"""Subscribers choose by patterns; devices and browsers publish and listen here too.

python topics.py follow "sensors.*.temperature" "sensors.kitchen.#"
python topics.py publish sensors.kitchen.temperature 21.5

In a pattern `*` is exactly one word and `#` is any number of words, none included.

The exchange is `amq.topic`, where MQTT and STOMP topics live: the MQTT topic
`sensors/kitchen/temperature` is the key `sensors.kitchen.temperature`, and the STOMP destination
`/topic/sensors.kitchen.temperature`. Try it with the examples in device/ and browser/.
"""

import sys

import pika

from broker import connect, consume_forever

EXCHANGE = "amq.topic"  # always there, need not be declared


def publish(key, text):
    with connect() as connection:
        properties = pika.BasicProperties(content_type="text/plain")
        connection.channel().basic_publish(EXCHANGE, key, text, properties)
        print(f" [x] published {key}: {text}")


def follow(patterns):
    def on_message(channel, method, properties, body):
        print(f" [x] {method.routing_key}: {body.decode(errors='replace')}")

    def subscribe(channel):
        queue = channel.queue_declare(queue="", exclusive=True).method.queue
        for pattern in patterns:
            channel.queue_bind(exchange=EXCHANGE, queue=queue, routing_key=pattern)
        # A message that several patterns match still comes once: it is in the queue, or not.
        channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
        print(f" [*] following {', '.join(patterns)}, Ctrl-C ends")

    consume_forever(subscribe)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["follow", *patterns] if patterns:
            follow(patterns)
        case ["publish", key, text]:
            publish(key, text)
        case _:
            sys.exit(__doc__)

"""Ask, and wait for the answer.

python rpc.py serve                     # in as many terminals as you like: they share the work
python rpc.py ask 30
"""

import sys
import uuid

import pika

from broker import connect, consume_forever

REQUESTS = "examples.fibonacci"
TIMEOUT_SECONDS = 10


def fibonacci(n):
    smaller, larger = 0, 1
    for _ in range(n):
        smaller, larger = larger, smaller + larger
    return smaller


def serve():
    def on_request(channel, method, properties, body):
        try:
            answer = str(fibonacci(int(body)))
        except ValueError:
            answer = "not a number"  # who asks waits, so even a refusal is an answer
        print(f" [x] fibonacci({body.decode(errors='replace')}) = {answer}")
        if properties.reply_to:
            # The correlation id tells the asker which of its questions this answers.
            reply = pika.BasicProperties(correlation_id=properties.correlation_id)
            channel.basic_publish("", properties.reply_to, answer, reply)
        channel.basic_ack(delivery_tag=method.delivery_tag)

    def subscribe(channel):
        channel.queue_declare(queue=REQUESTS)
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue=REQUESTS, on_message_callback=on_request)
        print(" [*] serving, Ctrl-C ends")

    consume_forever(subscribe)


def ask(question):
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue=REQUESTS)
        correlation_id = str(uuid.uuid4())
        answers = []

        def on_answer(channel, method, properties, body):
            if properties.correlation_id == correlation_id:
                answers.append(body.decode())

        # Listen first, then ask: an answer may be faster than the next line. The broker makes up
        # the name of our queue, which goes when we go. Who asks often keeps one for all questions.
        answer_queue = channel.queue_declare(queue="", exclusive=True).method.queue
        channel.basic_consume(answer_queue, on_answer, auto_ack=True)
        request = pika.BasicProperties(
            reply_to=answer_queue,
            correlation_id=correlation_id,
            expiration=str(TIMEOUT_SECONDS * 1000),  # nobody waits for it after that
        )
        channel.basic_publish("", REQUESTS, question, request)
        connection.call_later(TIMEOUT_SECONDS, lambda: answers.append(None))
        while not answers:
            connection.process_data_events(time_limit=None)  # until something happens
        if answers[0] is None:
            sys.exit(f" [!] no answer within {TIMEOUT_SECONDS} s; does `rpc.py serve` run?")
        print(f" [x] the answer is {answers[0]}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["ask", question]:
            ask(question)
        case _:
            sys.exit(__doc__)

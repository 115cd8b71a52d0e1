"""Know what the broker has taken.

python confirms.py one-by-one 100       # simple: wait for each
python confirms.py pipelined 1000       # fast: keep publishing, and keep account

Publishing alone tells nothing: a message may still be in a socket buffer when the network fails.
On a channel with confirms, the broker answers for every message: ack, it has it; nack, it has not.
"""

import itertools
import sys
import time

import pika
from pika.exceptions import NackError, UnroutableError

from broker import AMQP_URL, connect

QUEUE = "examples.confirms"


def one_by_one(count):
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue=QUEUE)
        channel.confirm_delivery()  # from here on basic_publish returns when the broker has answered
        started = time.monotonic()
        for number in range(count):
            try:
                channel.basic_publish("", QUEUE, f"message {number}", mandatory=True)
            except NackError:
                sys.exit(f" [!] the broker would not take message {number}")
        print(f" [x] {count} messages confirmed one by one in {time.monotonic() - started:.2f} s")

        # An ack says "taken", even if no queue wanted it. With mandatory it comes back instead.
        try:
            channel.basic_publish("", "examples.no-such-queue", "lost?", mandatory=True)
        except UnroutableError as error:
            print(f" [x] returned: {error.messages[0].method.reply_text}")
        channel.queue_delete(queue=QUEUE)


class Pipelined:
    """Publishes without waiting, and remembers what the broker has not yet answered for."""

    def __init__(self, count):
        self.count = count
        self.unconfirmed = {}  # delivery tag: body, so that it could be published again
        self.refused = 0
        self.started = 0.0
        self.connection = pika.SelectConnection(
            pika.URLParameters(AMQP_URL),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel),
            on_open_error_callback=lambda connection, error: sys.exit(f" [!] no connection: {error!r}"),
            on_close_callback=lambda connection, reason: connection.ioloop.stop(),
        )

    def on_channel(self, channel):
        self.channel = channel
        channel.queue_declare(QUEUE, callback=lambda ok: channel.confirm_delivery(self.on_answer, self.publish))

    def publish(self, select_ok):
        self.started = time.monotonic()
        # With more to send than fits in memory, stop at some number of unconfirmed messages, and go
        # on in on_answer.
        for number in range(self.count):
            body = f"message {number}"
            self.channel.basic_publish("", QUEUE, body)
            # The broker counts the messages of the channel from 1; these numbers are the tags.
            self.unconfirmed[number + 1] = body

    def on_answer(self, frame):
        tag, multiple = frame.method.delivery_tag, frame.method.multiple
        # multiple: this one and every message before it that is still open
        upto = itertools.takewhile(lambda known: known <= tag, self.unconfirmed)
        answered = list(upto) if multiple else [tag]
        for known in answered:
            del self.unconfirmed[known]
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self.refused += len(answered)
        if not self.unconfirmed:
            seconds = time.monotonic() - self.started
            print(f" [x] {self.count - self.refused} messages confirmed pipelined in {seconds:.2f} s")
            self.channel.queue_delete(QUEUE, callback=lambda ok: self.connection.close())

    def run(self):
        self.connection.ioloop.start()
        if self.unconfirmed or self.refused:
            sys.exit(f" [!] not taken: {len(self.unconfirmed) + self.refused}; publish these again")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["one-by-one", count]:
            one_by_one(int(count))
        case ["pipelined", count]:
            Pipelined(int(count)).run()
        case _:
            sys.exit(__doc__)

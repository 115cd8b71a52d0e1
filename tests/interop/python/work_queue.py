"""One work queue, one consumer of each protocol: everything is settled once, whoever is killed."""

import os
import signal
import subprocess
import sys
import time

import pika

from harness import case, check, equal, main, unique, wait_until
from pika_connection import connect

MESSAGES = 100_000
PROTOCOLS = ("amqp", "mqtt", "stomp")


class Worker:
    """A consumer in a process of its own (work_queue_consumer.py), so that it can be killed."""

    def __init__(self, protocol, queue, mode):
        self.protocol = protocol
        self.process = subprocess.Popen(
            [sys.executable, "work_queue_consumer.py", protocol, queue, mode],
            stdout=subprocess.PIPE, text=True,
        )
        equal(self.process.stdout.readline(), "ready\n", f"{protocol} worker")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def settled(self):
        """Ends it, and returns the numbers it settled."""
        self.process.send_signal(signal.SIGTERM)
        output = self.process.communicate(timeout=20)[0]
        return [int(number) for number in output.split()]


def fill(channel, queue, count):
    for number in range(count):
        channel.basic_publish("", queue, str(number))


def is_empty(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count == 0


@case
def every_message_is_settled_once():
    queue = unique("work")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        workers = [Worker(protocol, queue, "settle") for protocol in PROTOCOLS]
        fill(channel, queue, MESSAGES)
        wait_until(lambda: is_empty(channel, queue), "an empty queue", 25)
        time.sleep(0.5)
        settled = {worker.protocol: worker.settled() for worker in workers}
        together = sorted(number for numbers in settled.values() for number in numbers)
        equal(len(together), MESSAGES, "settlements")
        check(together == list(range(MESSAGES)), "each number once")
        check(all(len(numbers) > MESSAGES // 100 for numbers in settled.values()),
              f"everybody worked: { {name: len(numbers) for name, numbers in settled.items()} }")
        # Nothing comes back once they are gone.
        wait_until(lambda: channel.queue_declare(queue, passive=True).method.consumer_count == 0, "they left")
        check(is_empty(channel, queue), "nothing was left unsettled")
        channel.queue_delete(queue)


def killed(protocol):
    """One worker takes messages and settles none; killed, its share goes to the other two."""
    queue = unique("work")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        victim = Worker(protocol, queue, "hold")
        fill(channel, queue, 300)
        wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count <= 280,
                   "the victim holds some")
        others = [Worker(other, queue, "settle") for other in PROTOCOLS if other != protocol]
        wait_until(lambda: is_empty(channel, queue), "the others took the rest")
        victim.kill()
        time.sleep(0.5)
        wait_until(lambda: is_empty(channel, queue), "the others took what it held")
        numbers = sorted(number for worker in others for number in worker.settled())
        equal(len(numbers), 300, "settlements by the others")
        check(numbers == list(range(300)), "each number once")
        channel.queue_delete(queue)


def each_protocol():
    for protocol in PROTOCOLS:

        def run(protocol=protocol):
            killed(protocol)

        run.__name__ = f"a_killed_{protocol}_worker_loses_nothing"
        case(run)


each_protocol()
main("work-queue")

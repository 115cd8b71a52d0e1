"""kombu and a Celery application: tasks, retries, late acknowledgement, results over rpc://."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import AMQP_PORT, HOST, PASSWORD, USER, case, check, equal, main, unique, wait_until

os.environ.setdefault("INTEROP_CELERY_QUEUE", unique("celery"))

from celery import group  # noqa: E402
from kombu import Connection, Consumer, Exchange, Producer, Queue  # noqa: E402

import celery_app  # noqa: E402

RESULT_SECONDS = 20


class Worker:
    """`celery worker` in a process of its own, with one child."""

    def __init__(self):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)
        command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker"]
        command += ["--concurrency=1", "--loglevel=INFO", f"--hostname={unique('w')}@localhost"]
        self.process = subprocess.Popen(
            command,
            cwd=Path(__file__).parent,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        wait_until(lambda: " ready." in self.said(), "the worker is ready", seconds=25)

    def said(self):
        return Path(self.log.name).read_text(encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # What it held has come back: the next worker shall not find it.
        celery_app.app.control.purge()
        os.unlink(self.log.name)


@case
def kombu_publishes_and_consumes():
    name = unique("kombu")
    with Connection(HOST, port=AMQP_PORT, userid=USER, password=PASSWORD) as connection:
        check(connection.transport.driver_type == "amqp", "pyamqp is used")
        exchange = Exchange(name, type="topic", durable=False, auto_delete=True)
        queue = Queue(name, exchange, routing_key="a.#", durable=False, auto_delete=True)
        seen = []
        with connection.channel() as channel:
            consumer = Consumer(channel, [queue], accept=["json"])
            consumer.register_callback(lambda body, message: (seen.append(body), message.ack()))
            with consumer:
                producer = Producer(channel, exchange)
                for number in range(10):
                    producer.publish({"n": number}, routing_key=f"a.{number}", serializer="json")
                while len(seen) < 10:
                    connection.drain_events(timeout=10)
        equal(seen, [{"n": number} for number in range(10)], "in order")


@case
def tasks_return_results_over_rpc():
    with Worker():
        equal(celery_app.add.delay(2, 3).get(RESULT_SECONDS), 5, "a result")
        job = group(celery_app.add.s(number, number) for number in range(20))()
        equal(job.get(RESULT_SECONDS), [2 * number for number in range(20)], "a group")
        equal(celery_app.fails_twice.delay().get(RESULT_SECONDS), 2, "retried twice")
        try:
            celery_app.fails.delay().get(RESULT_SECONDS)
        except KeyError as error:
            check("always" in str(error), "the task's own error comes back")
        else:
            raise AssertionError("a task that fails does not return")


@case
def a_late_task_survives_its_worker():
    marker = tempfile.mktemp(prefix="interop-late-")
    try:
        with Worker():
            equal(celery_app.late.delay(marker).get(RESULT_SECONDS), "redelivered", "late")
    finally:
        if os.path.exists(marker):
            os.unlink(marker)


@case
def countdown_tasks_do_not_delay_an_immediate_one():
    """The worker holds countdown tasks unacknowledged and raises its prefetch for each: a broker
    that does not let `basic.qos` reach running consumers would starve the immediate one."""
    with Worker():
        for _ in range(50):
            celery_app.now.apply_async(countdown=300)
        sent = time.time()
        ran = celery_app.now.delay().get(RESULT_SECONDS)
        check(ran - sent < RESULT_SECONDS, f"an immediate task waited {ran - sent:.1f} s")


if __name__ == "__main__":
    main("celery")

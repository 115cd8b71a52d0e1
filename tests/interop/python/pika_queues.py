"""Queue arguments as programs use them through pika: retries by TTL and dead letters, bounds, priorities."""

import time

import pika

from harness import case, check, equal, main, unique, wait_until
from pika_connection import connect


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


@case
def a_job_is_retried_after_a_delay():
    work, wait = unique("work"), unique("wait")
    with connect() as connection:
        channel = connection.channel()
        to = lambda queue: {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
        channel.queue_declare(work, durable=True, arguments=to(wait))
        channel.queue_declare(wait, durable=True, arguments={**to(work), "x-message-ttl": 300})
        channel.basic_publish("", work, "job", pika.BasicProperties(delivery_mode=2, message_id="1"))
        for attempt in range(3):
            wait_until(lambda: ready(channel, work) == 1, f"attempt {attempt}")
            method, properties, body = channel.basic_get(work)
            equal((body, properties.message_id), (b"job", "1"), "the job")
            deaths = {(death["queue"], death["reason"]): death["count"]
                      for death in (properties.headers or {}).get("x-death", [])}
            expected = {(wait, "expired"): attempt, (work, "rejected"): attempt} if attempt else {}
            equal(deaths, expected, "x-death")
            began = time.monotonic()
            channel.basic_reject(method.delivery_tag, requeue=False)
        wait_until(lambda: ready(channel, work) == 1, "the last attempt")
        check(time.monotonic() - began >= 0.29, "not before its time")
        channel.queue_delete(work)
        channel.queue_delete(wait)


@case
def messages_expire_to_the_tenth_of_a_second():
    with connect() as connection:
        channel = connection.channel()

        def left():
            """Of two messages, 150 ms apart, when the first has expired and the second has not."""
            queue = unique("ttl")
            channel.queue_declare(queue, arguments={"x-message-ttl": 200})
            channel.basic_publish("", queue, "one")
            time.sleep(0.15)
            channel.basic_publish("", queue, "two")
            time.sleep(0.1)
            bodies = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(2)]
            channel.queue_delete(queue)
            return bodies

        # A machine under load stretches the sleeps, or the way of a message to the broker.
        seen = []
        while [b"two", None] not in seen and len(seen) < 5:
            seen.append(left())
        check([b"two", None] in seen, f"the first expires before the second, saw {seen}")


@case
def a_full_queue_nacks():
    queue = unique("full")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
        channel.confirm_delivery()
        channel.basic_publish("", queue, "one")
        channel.basic_publish("", queue, "two")
        try:
            channel.basic_publish("", queue, "three")
        except pika.exceptions.NackError:
            pass
        else:
            raise AssertionError("the third was taken")
        equal(ready(channel, queue), 2, "ready")
        channel.queue_delete(queue)


@case
def higher_priorities_come_first():
    queue = unique("priority")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, arguments={"x-max-priority": 10})
        for priority in (1, 9, 5, None, 9):
            channel.basic_publish("", queue, str(priority), pika.BasicProperties(priority=priority))
        bodies = [channel.basic_get(queue, auto_ack=True)[2].decode() for _ in range(5)]
        equal(bodies, ["9", "9", "5", "1", "None"], "order")
        channel.queue_delete(queue)


@case
def a_poison_message_leaves_a_quorum_queue():
    queue, dead = unique("quorum"), unique("dead")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(dead, durable=True)
        channel.queue_declare(queue, durable=True, arguments={
            "x-queue-type": "quorum", "x-delivery-limit": 2,
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
        channel.basic_publish("", queue, "poison", pika.BasicProperties(delivery_mode=2))
        for count in range(3):
            wait_until(lambda: ready(channel, queue) == 1, f"return {count}")
            method, properties, _ = channel.basic_get(queue)
            equal(properties.headers["x-delivery-count"], count, "x-delivery-count")
            channel.basic_nack(method.delivery_tag, requeue=True)
        wait_until(lambda: ready(channel, dead) == 1, "it is dead")
        headers = channel.basic_get(dead, auto_ack=True)[1].headers
        equal(headers["x-first-death-reason"], "delivery_limit", "why")
        # A consumer learns the count from the second delivery on.
        channel.basic_publish("", queue, "poison", pika.BasicProperties(delivery_mode=2))
        counts = []
        for method, properties, _ in channel.consume(queue, inactivity_timeout=10):
            check(method is not None, f"a delivery after {counts}")
            counts.append((properties.headers or {}).get("x-delivery-count"))
            channel.basic_nack(method.delivery_tag, requeue=True)
            if len(counts) == 3:
                break
        channel.cancel()
        equal(counts, [None, 1, 2], "x-delivery-count of consumed messages")
        channel.queue_delete(queue)
        channel.queue_delete(dead)


main("pika-queues")

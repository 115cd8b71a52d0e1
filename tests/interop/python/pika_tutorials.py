"""RabbitMQ's seven tutorials with pika, under load and with properties."""

import subprocess
import sys
import threading
from pathlib import Path

import pika

from harness import AMQP_PORT, HOST, PASSWORD, USER, case, check, equal, main, unique, wait_until
from pika_connection import collect, connect, nothing_more

HERE = Path(__file__).parent


@case
def tutorial_1_hello():
    queue = unique("hello")
    with connect() as producer, connect() as consumer:
        channel = producer.channel()
        declared = channel.queue_declare(queue=queue)
        equal(declared.method.queue, queue, "declare-ok names the queue")
        equal(declared.method.message_count, 0, "messages in a new queue")
        equal(declared.method.consumer_count, 0, "consumers of a new queue")
        channel.basic_publish(exchange="", routing_key=queue, body="Hello World!")

        received = []
        inbox = consumer.channel()

        def callback(ch, method, properties, body):
            received.append((method.exchange, method.routing_key, method.redelivered, body))
            ch.stop_consuming()

        tag = inbox.basic_consume(queue=queue, on_message_callback=callback, auto_ack=True)
        check(tag.startswith("ctag"), f"pika chose the consumer tag, saw {tag!r}")
        inbox.start_consuming()
        equal(received, [("", queue, False, b"Hello World!")], "the delivery")
        channel.queue_delete(queue)


@case
def tutorial_2_work_queues_fair_dispatch():
    queue = unique("tasks")
    with connect() as producer, connect() as first, connect() as second:
        tasks = producer.channel()
        tasks.queue_declare(queue=queue, durable=True)
        taken = {"first": [], "second": []}
        channels = {}
        for name, worker in (("first", first), ("second", second)):
            channel = worker.channel()
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(
                queue=queue,
                on_message_callback=lambda ch, method, properties, body, name=name: taken[name].append(
                    (method.delivery_tag, body)
                ),
            )
            channels[name] = channel
        for number in range(6):
            tasks.basic_publish(
                exchange="",
                routing_key=queue,
                body=f"task {number}",
                properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
            )
        # The first worker never finishes its task: the second gets all the others, one at a time.
        collect(first, taken["first"], 1)
        for count in range(1, 6):
            collect(second, taken["second"], count)
            nothing_more(second, taken["second"], count)
            channels["second"].basic_ack(taken["second"][-1][0])
        nothing_more(first, taken["first"], 1)
        seen = {body for _, body in taken["first"] + taken["second"]}
        equal(seen, {b"task %d" % number for number in range(6)}, "all tasks, each once")
        channels["first"].basic_ack(taken["first"][0][0])
        # A round trip on the same channel: the acknowledgement above has been handled by then.
        equal(channels["first"].queue_declare(queue, passive=True).method.message_count, 0, "left")
        tasks.queue_delete(queue)


@case
def tutorial_2_killed_worker_redelivers():
    queue = unique("tasks")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue=queue, durable=True)
        worker = subprocess.Popen(
            [sys.executable, HERE / "pika_worker.py", queue], stdout=subprocess.PIPE, text=True
        )
        try:
            persistent = pika.BasicProperties(delivery_mode=2)
            channel.basic_publish("", queue, "unfinished", persistent)
            channel.basic_publish("", queue, "next", persistent)
            equal(worker.stdout.readline(), "took unfinished\n", "the worker's line")
        finally:
            worker.kill()
            worker.wait()
        # Back in its original place, before what came later, and marked.
        wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 2, "2 ready")
        received = []
        channel.basic_consume(
            queue, lambda _ch, method, _p, body: received.append((body, method.redelivered)), auto_ack=True
        )
        collect(connection, received, 2)
        equal(received, [(b"unfinished", True), (b"next", False)], "after the worker's death")
        channel.queue_delete(queue)


@case
def tutorial_2_reject_and_requeue_keep_place():
    queue = unique("tasks")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        for body in ("a", "b", "c"):
            channel.basic_publish("", queue, body)
        wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 3, "3 ready")
        got = [channel.basic_get(queue) for _ in range(3)]
        equal([body for _, _, body in got], [b"a", b"b", b"c"], "order")
        equal([method.message_count for method, _, _ in got], [2, 1, 0], "message_count of get-ok")
        channel.basic_nack(got[0][0].delivery_tag, requeue=True)
        channel.basic_reject(got[1][0].delivery_tag, requeue=False)
        channel.basic_reject(got[2][0].delivery_tag, requeue=True)
        method, _, body = channel.basic_get(queue)
        equal((method.redelivered, body), (True, b"a"), "requeued first")
        channel.basic_nack(method.delivery_tag, multiple=True, requeue=True)
        again = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
        equal([body for _, _, body in again], [b"a", b"c", None], "what is left")
        channel.queue_delete(queue)


@case
def tutorial_2_ack_multiple():
    queue = unique("tasks")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        for number in range(10):
            channel.basic_publish("", queue, str(number))
        received = []
        channel.basic_qos(prefetch_count=10)
        channel.basic_consume(queue, lambda _ch, method, _p, body: received.append(method.delivery_tag))
        collect(connection, received, 10)
        equal(received, list(range(1, 11)), "delivery tags of a channel")
        channel.basic_ack(7, multiple=True)
        channel.close()
        other = connection.channel()
        left = []
        other.basic_consume(
            queue, lambda _ch, method, _p, body: left.append((body, method.redelivered)), auto_ack=True
        )
        collect(connection, left, 3)
        equal(left, [(b"7", True), (b"8", True), (b"9", True)], "not acknowledged, in order")
        other.queue_delete(queue)


@case
def tutorial_3_publish_subscribe():
    exchange = unique("logs")
    with connect() as connection, connect() as other:
        channel = connection.channel()
        channel.exchange_declare(exchange=exchange, exchange_type="fanout")
        boxes, names = [], []
        for _ in range(3):
            box = []
            name = channel.queue_declare(queue="", exclusive=True).method.queue
            check(name.startswith("amq.gen-"), f"server-named queue, saw {name!r}")
            channel.queue_bind(exchange=exchange, queue=name)
            channel.basic_consume(
                name, lambda _ch, _m, _p, body, box=box: box.append(body), auto_ack=True
            )
            boxes.append(box)
            names.append(name)
        equal(len(set(names)), 3, "different names")
        publisher = other.channel()
        for body in (b"info", b"warning"):
            publisher.basic_publish(exchange=exchange, routing_key="ignored", body=body)
        for box in boxes:
            collect(connection, box, 2)
            equal(box, [b"info", b"warning"], "each queue gets its copy")
        # Exclusive: not for others, and gone with its connection.
        try:
            other.channel().queue_declare(names[0], passive=True)
            raise AssertionError("another connection may not touch an exclusive queue")
        except pika.exceptions.ChannelClosedByBroker as error:
            equal(error.reply_code, 405, "reply code")
        connection.close()

        def gone():
            try:
                other.channel().queue_declare(names[0], passive=True)
            except pika.exceptions.ChannelClosedByBroker as error:
                return error.reply_code == 404
            return False

        wait_until(gone, "the exclusive queue went with its connection")
        other.channel().exchange_delete(exchange)


@case
def tutorial_4_routing():
    exchange = unique("direct_logs")
    with connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange=exchange, exchange_type="direct")
        errors, everything = [], []
        for box, severities in ((errors, ["error"]), (everything, ["info", "warning", "error"])):
            name = channel.queue_declare("", exclusive=True).method.queue
            for severity in severities:
                channel.queue_bind(name, exchange, severity)
            channel.basic_consume(
                name,
                lambda _ch, method, _p, body, box=box: box.append((method.routing_key, body)),
                auto_ack=True,
            )
        for severity in ("info", "error", "debug", "warning"):
            channel.basic_publish(exchange, severity, "x")
        collect(connection, everything, 3)
        collect(connection, errors, 1)
        nothing_more(connection, everything, 3)
        equal([key for key, _ in everything], ["info", "error", "warning"], "all three severities")
        equal([key for key, _ in errors], ["error"], "errors only")
        channel.exchange_delete(exchange)


@case
def tutorial_5_topics():
    exchange = unique("topic_logs")
    patterns = {
        "#": ["kern.critical", "lazy.orange.fast.rabbit", "quick", "", "a..b"],
        "kern.*": ["kern.critical"],
        "*.critical": ["kern.critical"],
        "lazy.#": ["lazy.orange.fast.rabbit"],
        "*": ["quick", ""],
        "a.*.b": ["a..b"],
        "#.rabbit": ["lazy.orange.fast.rabbit"],
        "kern.critical.#": ["kern.critical"],
    }
    keys = patterns["#"]
    with connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange=exchange, exchange_type="topic")
        boxes = {}
        for pattern in patterns:
            name = channel.queue_declare("", exclusive=True).method.queue
            channel.queue_bind(name, exchange, pattern)
            boxes[pattern] = box = []
            channel.basic_consume(
                name,
                lambda _ch, method, _p, body, box=box: box.append(method.routing_key),
                auto_ack=True,
            )
        for key in keys:
            channel.basic_publish(exchange, key, "x")
        collect(connection, boxes["#"], len(keys))
        connection.process_data_events(time_limit=0.2)
        # In RabbitMQ "*" does not match the empty key, which has no words.
        seen = {pattern: [key for key in box if key] for pattern, box in boxes.items()}
        wanted = {pattern: [key for key in matching if key] for pattern, matching in patterns.items()}
        equal(seen, wanted, "what each pattern got")
        channel.exchange_delete(exchange)


def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def serve_fibonacci(queue, ready, stop):
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.basic_qos(prefetch_count=1)

        def on_request(ch, method, properties, body):
            ch.basic_publish(
                exchange="",
                routing_key=properties.reply_to,
                properties=pika.BasicProperties(correlation_id=properties.correlation_id),
                body=str(fibonacci(int(body))),
            )
            ch.basic_ack(method.delivery_tag)

        channel.basic_consume(queue, on_request)
        ready.set()
        while not stop.is_set():
            connection.process_data_events(time_limit=0.05)


@case
def tutorial_6_rpc():
    queue = unique("rpc_queue")
    ready, stop = threading.Event(), threading.Event()
    server = threading.Thread(target=serve_fibonacci, args=(queue, ready, stop), daemon=True)
    server.start()
    check(ready.wait(10), "the server is ready")
    with connect() as connection:
        channel = connection.channel()
        replies = channel.queue_declare("", exclusive=True).method.queue
        received = {}
        channel.basic_consume(
            replies,
            lambda _ch, _m, properties, body: received.update({properties.correlation_id: int(body)}),
            auto_ack=True,
        )
        for number in (1, 10, 20):
            channel.basic_publish(
                "",
                queue,
                str(number),
                pika.BasicProperties(reply_to=replies, correlation_id=f"call-{number}"),
            )
        collect(connection, received, 3)
        equal(received, {"call-1": 1, "call-10": 55, "call-20": 6765}, "replies by correlation")
        stop.set()
        server.join()
        channel.queue_delete(queue)


@case
def tutorial_7_confirm_each():
    queue = unique("confirms")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.confirm_delivery()
        for number in range(50):
            # Waits for the broker's ack; raises NackError or UnroutableError.
            channel.basic_publish("", queue, str(number), mandatory=True)
        equal(channel.queue_declare(queue, passive=True).method.message_count, 50, "stored")
        try:
            channel.basic_publish("", unique("nowhere"), "lost", mandatory=True)
            raise AssertionError("an unroutable mandatory message must be returned")
        except pika.exceptions.UnroutableError as error:
            returned = error.messages[0]
            equal(returned.method.reply_code, 312, "reply code of the return")
            equal(returned.method.reply_text, "NO_ROUTE", "reply text of the return")
            equal(returned.body, b"lost", "body of the return")
        # Without mandatory it is confirmed and dropped.
        channel.basic_publish("", unique("nowhere"), "dropped")
        channel.queue_delete(queue)


@case
def tutorial_7_confirm_asynchronously():
    """pika's callback connection: a batch in flight, cumulative acks, a return before its ack."""
    queue, nowhere, count = unique("confirms"), unique("nowhere"), 500
    seen = {"acked": set(), "nacked": set(), "events": [], "error": None}

    def fail(connection, error):
        seen["error"] = error
        connection.ioloop.stop()

    def on_confirm(frame):
        method = frame.method
        if isinstance(method, pika.spec.Basic.Nack):
            seen["nacked"].add(method.delivery_tag)
            return
        # The returned message may be confirmed before its predecessors.
        first = 1 if method.multiple else method.delivery_tag
        new = set(range(first, method.delivery_tag + 1)) - seen["acked"]
        seen["acked"] |= new
        if count + 1 in new:
            seen["events"].append("ack")
        if len(seen["acked"]) == count + 1:
            connection.close()

    def on_return(_channel, method, _properties, body):
        seen["events"].append(("return", method.reply_code, method.routing_key, body))

    def publish(_frame):
        for number in range(count):
            state["channel"].basic_publish("", queue, f"{number}")
        state["channel"].basic_publish("", nowhere, b"back", mandatory=True)

    def on_declared(_frame):
        state["channel"].confirm_delivery(on_confirm, callback=publish)

    def on_channel(channel):
        state["channel"] = channel
        channel.add_on_return_callback(on_return)
        channel.queue_declare(queue, callback=on_declared)

    state = {}
    parameters = pika.ConnectionParameters(
        HOST, AMQP_PORT, credentials=pika.PlainCredentials(USER, PASSWORD)
    )
    connection = pika.SelectConnection(
        parameters,
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_open_error_callback=fail,
        on_close_callback=lambda closed, _reason: closed.ioloop.stop(),
    )
    connection.ioloop.start()
    equal(seen["error"], None, "connection error")
    equal(seen["nacked"], set(), "nacked")
    equal(seen["acked"], set(range(1, count + 2)), "acknowledged delivery tags")
    equal(seen["events"], [("return", 312, nowhere, b"back"), "ack"], "return, then its ack")
    with connect() as again:
        channel = again.channel()
        deleted = channel.queue_delete(queue)
        equal(deleted.method.message_count, count, "messages in the deleted queue")


@case
def properties_and_headers_survive():
    queue = unique("properties")
    headers = {
        "text": "grüße", "yes": True, "number": 42, "negative": -7, "big": 2**40,
        "list": [1, "two", False], "table": {"inner": "x"}, "nothing": None, "bytes": b"\x00\xff",
    }
    sent = pika.BasicProperties(
        content_type="application/json", content_encoding="gzip", headers=headers, delivery_mode=2,
        priority=5, correlation_id="c-1", reply_to="somewhere", expiration="60000", message_id="m-1",
        timestamp=1700000000, type="kind", user_id=USER, app_id="interop",
    )
    body = bytes(range(256)) * 4096 + b"\x00"
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.basic_publish("", queue, body, sent)
        channel.basic_publish("", queue, b"", pika.BasicProperties())
        wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 2, "2 ready")
        method, got, got_body = channel.basic_get(queue, auto_ack=True)
        check(got_body == body, f"1 MiB and a byte of body, saw {len(got_body)} bytes")
        equal(got.headers, headers, "headers")
        for name in ("content_type", "content_encoding", "delivery_mode", "priority", "correlation_id",
                     "reply_to", "expiration", "message_id", "timestamp", "type", "user_id", "app_id"):
            equal(getattr(got, name), getattr(sent, name), name)
        equal(method.message_count, 1, "left")
        _, empty, empty_body = channel.basic_get(queue, auto_ack=True)
        equal(empty_body, b"", "empty body")
        equal((empty.content_type, empty.headers, empty.delivery_mode), (None, None, None), "no properties")
        channel.queue_delete(queue)


@case
def burst_in_order():
    queue, count = unique("burst"), 20_000
    with connect() as producer, connect() as consumer:
        channel = producer.channel()
        channel.queue_declare(queue)
        received = []
        inbox = consumer.channel()
        inbox.basic_consume(queue, lambda _ch, _m, _p, body: received.append(int(body)), auto_ack=True)
        for number in range(count):
            channel.basic_publish("", queue, str(number))
        collect(consumer, received, count, 20)
        equal(received == list(range(count)), True, "all, in order")
        channel.queue_delete(queue)


main("pika")

"""What pika sees when something is refused, cancelled or deleted, and of the connection itself."""

import time

import pika

from harness import AMQP_PORT, HOST, PASSWORD, USER, case, check, equal, main, unique, wait_until
from pika_connection import collect, connect


def channel_error(connection, action):
    """What the broker closes a fresh channel with; the connection must survive it."""
    channel = connection.channel()
    try:
        action(channel)
        connection.process_data_events(time_limit=1)
        channel.queue_declare("", exclusive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        check(connection.is_open, "only the channel is closed")
        return error.reply_code, error.reply_text
    raise AssertionError("the channel stayed open")


@case
def cancel_stops_deliveries():
    queue = unique("cancel")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        received = []
        tag = channel.basic_consume(
            queue, lambda _ch, _m, _p, body: received.append(body), auto_ack=True, consumer_tag="mine"
        )
        equal(tag, "mine", "the client's consumer tag")
        equal(channel.queue_declare(queue, passive=True).method.consumer_count, 1, "consumers")
        channel.basic_publish("", queue, "one")
        collect(connection, received, 1)
        channel.basic_cancel(tag)
        channel.basic_publish("", queue, "two")
        equal(channel.queue_declare(queue, passive=True).method.consumer_count, 0, "consumers")
        wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 1, "1 ready")
        equal(received, [b"one"], "nothing after cancel-ok")
        channel.queue_delete(queue)


@case
def consumer_hears_of_a_deleted_queue():
    queue = unique("cancel")
    with connect() as connection, connect() as other:
        channel = connection.channel()
        channel.queue_declare(queue)
        cancelled = []
        channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        tag = channel.basic_consume(queue, lambda *_: None)
        other.channel().queue_delete(queue)
        collect(connection, cancelled, 1)
        equal(cancelled, [tag], "basic.cancel from the broker")
        check(channel.is_open, "the channel stays open")


@case
def purge_unbind_and_conditional_delete():
    queue, exchange = unique("purge"), unique("purge-x")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, auto_delete=True)
        channel.exchange_declare(exchange, "direct", auto_delete=True)
        channel.queue_bind(queue, exchange, "k")
        channel.confirm_delivery()
        for _ in range(3):
            channel.basic_publish(exchange, "k", "x", mandatory=True)
        equal(channel.queue_purge(queue).method.message_count, 3, "purged")
        equal(channel.basic_get(queue)[0], None, "get-empty")
        channel.queue_unbind(queue, exchange, "k")
        # An auto-delete exchange goes with its last binding.
        closed = channel_error(connection, lambda ch: ch.exchange_declare(exchange, passive=True))
        equal(closed, (404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"), "exchange gone")
        channel.basic_publish("", queue, "x", mandatory=True)
        closed = channel_error(connection, lambda ch: ch.queue_delete(queue, if_empty=True))
        equal(closed, (406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"), "if-empty")
        tag = channel.basic_consume(queue, lambda *_: None)
        closed = channel_error(connection, lambda ch: ch.queue_delete(queue, if_unused=True))
        equal(closed, (406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"), "if-unused")
        # An auto-delete queue goes with its last consumer.
        channel.basic_cancel(tag)
        closed = channel_error(connection, lambda ch: ch.queue_declare(queue, passive=True))
        equal(closed, (404, f"NOT_FOUND - no queue '{queue}' in vhost '/'"), "queue gone")


@case
def errors_404():
    name = unique("nope")
    queue = (404, f"NOT_FOUND - no queue '{name}' in vhost '/'")
    exchange = (404, f"NOT_FOUND - no exchange '{name}' in vhost '/'")
    with connect() as connection:
        for what, expected, action in (
            ("passive declare of a queue", queue, lambda ch: ch.queue_declare(name, passive=True)),
            ("get", queue, lambda ch: ch.basic_get(name)),
            ("consume", queue, lambda ch: ch.basic_consume(name, lambda *_: None)),
            ("bind a missing queue", queue, lambda ch: ch.queue_bind(name, "amq.direct", "k")),
            ("passive declare of an exchange", exchange, lambda ch: ch.exchange_declare(name, passive=True)),
            ("publish", exchange, lambda ch: ch.basic_publish(name, "k", "x")),
        ):
            equal(channel_error(connection, action), expected, what)


@case
def errors_403_and_405():
    refused = "ACCESS_REFUSED - "
    with connect() as connection, connect() as owner:
        for what, text, action in (
            ("queue amq.*", "queue name 'amq.mine' contains reserved prefix 'amq.*'",
             lambda ch: ch.queue_declare("amq.mine")),
            ("exchange amq.*", "exchange name 'amq.mine' contains reserved prefix 'amq.*'",
             lambda ch: ch.exchange_declare("amq.mine")),
            ("bind to the default exchange", "operation not permitted on the default exchange",
             lambda ch: ch.queue_bind(ch.queue_declare("", exclusive=True).method.queue, "", "k")),
            ("delete amq.direct", "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
             lambda ch: ch.exchange_delete("amq.direct")),
        ):
            equal(channel_error(connection, action), (403, refused + text), what)
        locked = unique("locked")
        owner.channel().queue_declare(locked, exclusive=True)
        text = (
            f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{locked}' in vhost '/'. "
            "It could be originally declared on another connection or the exclusive property value does "
            "not match that of the original declaration."
        )
        for what, action in (
            ("declare", lambda ch: ch.queue_declare(locked, exclusive=True)),
            ("consume", lambda ch: ch.basic_consume(locked, lambda *_: None)),
            ("delete", lambda ch: ch.queue_delete(locked)),
        ):
            equal(channel_error(connection, action), (405, text), what)
        mine = unique("alone")
        channel = connection.channel()
        channel.queue_declare(mine)
        channel.basic_consume(mine, lambda *_: None, exclusive=True)
        equal(
            channel_error(owner, lambda ch: ch.basic_consume(mine, lambda *_: None)),
            (403, f"ACCESS_REFUSED - queue '{mine}' in vhost '/' in exclusive use"),
            "second consumer of an exclusive consumer's queue",
        )
        channel.queue_delete(mine)


@case
def errors_406():
    queue, exchange = unique("plain"), unique("plain-x")
    failed = "PRECONDITION_FAILED - "
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.exchange_declare(exchange, "direct")
        for what, text, action in (
            ("durable differs",
             f"inequivalent arg 'durable' for queue '{queue}' in vhost '/': received 'true' but current is 'false'",
             lambda ch: ch.queue_declare(queue, durable=True)),
            ("auto-delete differs",
             f"inequivalent arg 'auto_delete' for queue '{queue}' in vhost '/': received 'true' but current is 'false'",
             lambda ch: ch.queue_declare(queue, auto_delete=True)),
            ("type differs",
             f"inequivalent arg 'type' for exchange '{exchange}' in vhost '/': received 'topic' but current is 'direct'",
             lambda ch: ch.exchange_declare(exchange, "topic")),
            ("unknown delivery tag", "unknown delivery tag 99", lambda ch: ch.basic_ack(99)),
            ("unknown delivery tag of a nack", "unknown delivery tag 7", lambda ch: ch.basic_nack(7)),
        ):
            equal(channel_error(connection, action), (406, failed + text), what)
        channel.queue_delete(queue)
        channel.exchange_delete(exchange)


@case
def errors_that_close_the_connection():
    try:
        connect(virtual_host="nowhere")
        raise AssertionError("an unknown vhost must be refused")
    except pika.exceptions.ProbableAccessDeniedError as error:
        check("(530) 'NOT_ALLOWED - vhost nowhere not found'" in str(error), str(error))
    try:
        pika.BlockingConnection(
            pika.ConnectionParameters(HOST, AMQP_PORT, credentials=pika.PlainCredentials(USER, PASSWORD + "x"))
        )
        raise AssertionError("a wrong password must be refused")
    except pika.exceptions.ProbableAuthenticationError as error:
        check("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN" in str(error), str(error))


@case
def heartbeats_keep_and_tune():
    with connect(heartbeat=1) as connection:
        channel = connection.channel()
        name = channel.queue_declare("", exclusive=True).method.queue
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            connection.process_data_events(time_limit=0.2)
        equal(channel.queue_declare(name, passive=True).method.queue, name, "alive after 3 intervals")
    with connect(channel_max=8, frame_max=4096) as small:
        channel = small.channel()
        name = channel.queue_declare("", exclusive=True).method.queue
        body = b"x" * 50_000
        channel.basic_publish("", name, body)
        wait_until(lambda: channel.queue_declare(name, passive=True).method.message_count == 1, "1 ready")
        equal(len(channel.basic_get(name, auto_ack=True)[2]), len(body), "a body of many small frames")


@case
def server_properties_announce_capabilities():
    with connect() as connection:
        announced = connection._impl.server_capabilities
        for name in ("publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
                     "connection.blocked", "consumer_priorities", "authentication_failure_close",
                     "per_consumer_qos", "direct_reply_to"):
            equal(announced.get(name), True, f"capability {name}")


main("pika-errors")

"""One way to reach the broker with pika, and to wait for what it delivers."""

import pika

from harness import AMQP_PORT, HOST, PASSWORD, USER, equal, wait_until


def connect(port=AMQP_PORT, **more):
    more.setdefault("credentials", pika.PlainCredentials(USER, PASSWORD))
    parameters = pika.ConnectionParameters(HOST, port, **more)
    return pika.BlockingConnection(parameters)


def collect(connection, received, count, seconds=10):
    """Serves the connection's callbacks until `received` holds `count` things."""
    wait_until(
        lambda: connection.process_data_events(time_limit=0.05) or len(received) >= count,
        f"{count} deliveries, has {len(received)}: {received!r:.200}",
        seconds,
    )


def nothing_more(connection, received, count):
    """Gives an extra delivery the time to show itself."""
    connection.process_data_events(time_limit=0.2)
    equal(len(received), count, "deliveries")

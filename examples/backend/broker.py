"""Where the broker is, and how a consumer stays connected to it."""

import os
import time

import pika
from pika.exceptions import AMQPConnectionError, ProbableAccessDeniedError, ProbableAuthenticationError

AMQP_URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/")


def connect():
    """Opens a connection. Close it, or use it in a `with` statement, which does."""
    return pika.BlockingConnection(pika.URLParameters(AMQP_URL))


def consume_forever(subscribe):
    """Calls `subscribe(channel)` and serves its consumers until Ctrl-C.

    Brokers get upgraded and networks fail: a service that is meant to run for weeks connects
    again, and then has to declare and subscribe again, because consumers end with their connection.
    """
    delay = 1
    while True:
        try:
            with connect() as connection:
                delay = 1
                channel = connection.channel()
                subscribe(channel)
                channel.start_consuming()
        except (ProbableAuthenticationError, ProbableAccessDeniedError):
            raise  # a wrong password does not get right by waiting
        except AMQPConnectionError as error:
            print(f" [!] no connection ({error!r}), next attempt in {delay} s")
            time.sleep(delay)
            delay = min(delay * 2, 30)
        except KeyboardInterrupt:
            return

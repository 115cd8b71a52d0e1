"""The application that celery_tasks.py runs a worker of: `celery -A celery_app worker`."""

import os
import time

from celery import Celery

from harness import AMQP_PORT, HOST, PASSWORD, USER

app = Celery(
    "interop",
    broker=f"amqp://{USER}:{PASSWORD}@{HOST}:{AMQP_PORT}//",
    backend="rpc://",
)
app.conf.update(
    task_default_queue=os.environ["INTEROP_CELERY_QUEUE"],
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    # Names of this run only, so that suites can be repeated against a broker that keeps queues.
    control_exchange=os.environ["INTEROP_CELERY_QUEUE"] + ".control",
    event_exchange=os.environ["INTEROP_CELERY_QUEUE"] + ".events",
)


@app.task
def add(left, right):
    return left + right


@app.task(bind=True, max_retries=3, default_retry_delay=0.05)
def fails_twice(self):
    if self.request.retries < 2:
        raise self.retry(exc=ValueError("not yet"))
    return self.request.retries


@app.task
def fails():
    raise KeyError("always")


@app.task(acks_late=True, reject_on_worker_lost=True)
def late(marker):
    """Kills its worker process the first time, so that only a redelivery can finish it."""
    if not os.path.exists(marker):
        with open(marker, "w", encoding="ascii"):
            pass
        os.kill(os.getpid(), 9)
    return "redelivered"


@app.task
def now():
    return time.time()

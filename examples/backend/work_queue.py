"""Tasks that must be done once each, shared by any number of workers.

python work_queue.py work               # in as many terminals as you like
python work_queue.py add "resize a.jpg" "resize b.jpg..."

Each dot in a task stands for a tenth of a second of work.
"""

import sys
import time

import pika

from broker import connect, consume_forever

QUEUE = "examples.tasks"


def add(tasks):
    with connect() as connection:
        channel = connection.channel()
        # durable: the queue itself is there again after a restart of the broker ...
        channel.queue_declare(queue=QUEUE, durable=True)
        # ... and with delivery mode 2 so are its messages.
        persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        for task in tasks:
            channel.basic_publish(exchange="", routing_key=QUEUE, body=task, properties=persistent)
            print(f" [x] added {task!r}")


def work():
    def on_task(channel, method, properties, body):
        task = body.decode()
        # redelivered: someone had it before and may have done part of it. Tasks should be such
        # that doing them twice is harmless.
        again = " again" if method.redelivered else ""
        print(f" [x] working on {task!r}{again}")
        time.sleep(task.count(".") / 10)
        # Only now may the broker forget it. A worker that dies before this line leaves its task
        # to another one.
        channel.basic_ack(delivery_tag=method.delivery_tag)
        print(f" [x] done with {task!r}")

    def subscribe(channel):
        channel.queue_declare(queue=QUEUE, durable=True)
        # One task at a time for each worker: without this, the broker hands all tasks out at
        # once, and a slow worker sits on tasks that an idle one could do.
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue=QUEUE, on_message_callback=on_task)
        print(" [*] waiting for tasks, Ctrl-C ends")

    consume_forever(subscribe)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["work"]:
            work()
        case ["add", *tasks] if tasks:
            add(tasks)
        case _:
            sys.exit(__doc__)

"""Policies as an operator writes them into the configuration, and what programs see of them through pika: queues
and exchanges that are declared with no argument obey, and an operator policy makes their own limits smaller."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pika

from harness import case, check, equal, main, wait_until
from pika_connection import connect

GATEWAY = os.environ["INTEROP_GATEWAY"]

CONFIGURATION = """
[[policies]]
name = "short"
pattern = "^short-"
apply_to = "queues"
definition = { max-length = 2, dead-letter-exchange = "", dead-letter-routing-key = "dead" }

[[policies]]
name = "brief"
pattern = "^brief-"
priority = 1
definition = { message-ttl = 200 }

[[policies]]
name = "spare"
pattern = "^spare-"
apply_to = "exchanges"
definition = { alternate-exchange = "amq.fanout" }

[[operator_policies]]
name = "bounds"
pattern = "^full-"
definition = { max-length = 1, overflow = "reject-publish" }
"""


class Gateway:
    """A gateway of our own, on ports that the system chooses."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        configuration = Path(self.folder.name) / "trivium.toml"
        configuration.write_text(CONFIGURATION)
        log = Path(self.folder.name) / "log"
        off = [word for name in ("mqtt", "stomp", "http") for word in ("--listen", f"{name}=off")]
        command = [GATEWAY, "--ephemeral", "--config", configuration, "--listen", "amqp=127.0.0.1:0", *off]
        with log.open("wb") as output:
            self.process = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        wait_until(lambda: self.port(log.read_text()) or self.process.poll() is not None, "it listens", 20)
        check(self.process.poll() is None, f"it ended: {log.read_text()[-500:]}")
        return self.port(log.read_text())

    @staticmethod
    def port(log):
        words = (word.rstrip(",") for word in log.split() if "127.0.0.1:" in word)
        ports = [int(word.rsplit(":", 1)[1]) for word in words if word.rsplit(":", 1)[1].isdigit()]
        return ports[0] if ports else None

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.folder.cleanup()


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


@case
def policies_of_the_configuration_rule_what_programs_declare():
    with Gateway() as port, connect(port) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for queue in ("dead", "short-1", "brief-1", "other"):
            channel.queue_declare(queue)
        for body in ("1", "2", "3"):
            for queue in ("short-1", "brief-1", "other"):
                channel.basic_publish("", queue, body)
        equal([ready(channel, queue) for queue in ("short-1", "other")], [2, 3], "ready")
        wait_until(lambda: ready(channel, "dead") == 1, "what was too much is dead")
        method, properties, body = channel.basic_get("dead", auto_ack=True)
        equal((body, properties.headers["x-first-death-reason"]), (b"1", "maxlen"), "the dead letter")
        time.sleep(0.2)
        wait_until(lambda: ready(channel, "brief-1") == 0, "what was too old is gone")

        channel.exchange_declare("spare-1", "direct")
        channel.queue_bind("other", "amq.fanout")
        channel.basic_publish("spare-1", "nowhere", "4", mandatory=True)
        equal(ready(channel, "other"), 4, "the alternate exchange has it")

        channel.queue_declare("full-1", arguments={"x-max-length": 100})
        channel.basic_publish("", "full-1", "1")
        try:
            channel.basic_publish("", "full-1", "2")
        except pika.exceptions.NackError:
            pass
        else:
            raise AssertionError("above the operator's bound")
        equal(ready(channel, "full-1"), 1, "ready")


main("pika-policies")

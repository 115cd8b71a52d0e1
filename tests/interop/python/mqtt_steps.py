"""QoS 2 with paho-mqtt while something breaks at each step of the flow: the connection, or the broker.

A publisher sends five messages to a subscriber; both keep their session. At the third message one
packet of the publisher's or the subscriber's flow is lost, or the connection ends right after it. Either
way every message arrives once, in order, and nothing is left over.

With `INTEROP_GATEWAY` the broker is killed at the same steps: each step has a gateway of its own, with a
data directory, which is killed by SIGKILL and started again.
"""

import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import HOST, MQTT_PORT, PASSWORD, USER, case, check, equal, main, unique, wait_until
from mqtt_proxy import Step, StepProxy

GATEWAY = os.environ.get("INTEROP_GATEWAY")
COUNT = 5
SECONDS = 60  # Only an error waits so long.

# The flow as the peer that the proxy stands before sees it, each packet lost or arrived.
PUBLISHER = [("PUBLISH", "up"), ("PUBREC", "down"), ("PUBREL", "up"), ("PUBCOMP", "down")]
SUBSCRIBER = [("PUBLISH", "down"), ("PUBREC", "up"), ("PUBREL", "down"), ("PUBCOMP", "up")]
VERSIONS = {"mqtt_3_1_1": mqtt.MQTTv311, "mqtt_5": mqtt.MQTTv5}


class Session:
    """A client that keeps its session and connects again by itself."""

    def __init__(self, version, name, port):
        self.received, self.connected = [], queue.Queue()
        self.subscribed, self.published = queue.Queue(), queue.Queue()
        clean = {} if version == mqtt.MQTTv5 else {"clean_session": False}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=version, **clean)
        self.client.username_pw_set(USER, PASSWORD)
        self.client.reconnect_delay_set(0.1, 0.5)
        self.client.on_message = lambda _c, _u, message: self.received.append(message.payload.decode())
        self.client.on_connect = lambda _c, _u, flags, reason, _p: self.connected.put((flags.session_present, reason))
        self.client.on_subscribe = lambda *_: self.subscribed.put(True)
        self.client.on_publish = lambda *_: self.published.put(True)
        self.version, self.port = version, port

    def __enter__(self):
        more = {}
        if self.version == mqtt.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 600
            more = {"clean_start": False, "properties": properties}
        self.client.connect("127.0.0.1", self.port, 60, **more)
        self.client.loop_start()
        self.present, reason = self.connected.get(timeout=SECONDS)
        check(not reason.is_failure, f"CONNACK says {reason}")
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic):
        self.client.subscribe(topic, 2)
        self.subscribed.get(timeout=SECONDS)


def run_step(version, side, step, address, action=lambda: None):
    """The whole story of one step, at the broker on `address`."""
    topic, names = unique("steps"), [unique("steps-publisher"), unique("steps-subscriber")]
    wanted = [f"{number}" for number in range(COUNT)]
    with StepProxy(*address, step, action) as proxy:
        ports = [proxy.port, address[1]] if side == "publisher" else [address[1], proxy.port]
        publisher, subscriber = (Session(version, *each) for each in zip(names, ports))
        with subscriber, publisher:
            subscriber.subscribe(topic)
            for body in wanted:
                # While there is no connection, paho keeps it for the next.
                publisher.client.publish(topic, body, 2)
                publisher.published.get(timeout=SECONDS)
            check(proxy.fired.wait(SECONDS), "the step was reached")
            wait_until(lambda: len(subscriber.received) >= COUNT, f"{COUNT} messages, of {subscriber.received}", SECONDS)
            time.sleep(0.3)
            equal(subscriber.received, wanted, "what arrived")
        # Everything is settled: whoever comes back finds the session, and nothing in it.
        with Session(version, names[1], address[1]) as back:
            equal(back.present, True, "session present")
            time.sleep(0.3)
            equal(back.received, [], "left over")


def at_each_step(version, side, run):
    """Runs `run(step)` for every step at the same time and says which failed."""
    packets = PUBLISHER if side == "publisher" else SUBSCRIBER
    steps = [Step(*packet, passes) for packet in packets for passes in (False, True)]
    problems = []

    def attempt(step):
        try:
            run(step)
        except Exception as error:
            problems.append(f"{step}: {type(error).__name__} {error}")

    threads = [threading.Thread(target=attempt, args=(step,), daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not problems, "; ".join(problems))


class Gateway:
    """A gateway on a data directory of its own, on the same port each time it is started."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="interop-steps-")
        with socket.create_server(("127.0.0.1", 0)) as spare:
            self.port = spare.getsockname()[1]
        self.start()

    def start(self):
        others = [word for name in ("amqp", "stomp", "http") for word in ("--listen", f"{name}=off")]
        environment = {name: value for name, value in os.environ.items() if name != "TRIVIUM_EPHEMERAL"}
        with open(f"{self.folder.name}/log", "ab") as log:
            self.process = subprocess.Popen(
                [GATEWAY, "--data", f"{self.folder.name}/data", "--listen", f"mqtt=127.0.0.1:{self.port}", *others],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )
        wait_until(self.listens, "the gateway listens", SECONDS)

    def listens(self):
        check(self.process.poll() is None, f"the gateway ended: {self.said()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self):
        with open(f"{self.folder.name}/log", encoding="utf-8") as log:
            return log.read()[-400:]

    def kill_and_start(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def with_own_gateway(version, side, step):
    with Gateway() as gateway:
        run_step(version, side, step, ("127.0.0.1", gateway.port), gateway.kill_and_start)


def register(side, suffix, version):
    def cut():
        at_each_step(version, side, lambda step: run_step(version, side, step, (HOST, MQTT_PORT)))

    def kill():
        at_each_step(version, side, lambda step: with_own_gateway(version, side, step))

    cut.__name__ = f"{side}_loses_its_connection_at_each_step_{suffix}"
    kill.__name__ = f"broker_is_killed_at_each_step_of_the_{side}_{suffix}"
    case(cut, seconds=120, only_for="trivium")
    if GATEWAY:
        case(kill, seconds=180, only_for="trivium")


for suffix, version in VERSIONS.items():
    for side in ("publisher", "subscriber"):
        register(side, suffix, version)
main("mqtt-steps")

"""Watches sensors, or gives one a command and waits for its answer.

python control.py watch
python control.py interval kitchen 0.2
python control.py stop kitchen
"""

import queue
import sys
import uuid

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import address, new_client

ANSWER_TIMEOUT_SECONDS = 10


def watch():
    client = new_client(client_id="")  # the broker makes one up

    def on_connect(client, data, flags, reason, properties):
        if reason.is_failure:
            sys.exit(f"refused: {reason}")
        client.subscribe("sensors/#", qos=1)

    def on_subscribe(client, data, identifier, reasons, properties):
        print(f"watching sensors/#: {reasons[0]}")

    def on_message(client, data, message):
        # retain is set on what was there before we subscribed
        before = " (retained)" if message.retain else ""
        print(f"{message.topic} {message.payload.decode(errors='replace')}{before}")

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.connect(*address())
    try:
        client.loop_forever()
    except KeyboardInterrupt:
        client.disconnect()


def command(name, verb, text=""):
    """Sends a command and returns the answer, or None if it takes none."""
    answers, subscribed = queue.Queue(), queue.Queue()
    identity = uuid.uuid4()
    answer_topic = f"answers/{identity}"
    client = new_client(client_id=f"control-{identity.hex[:16]}")
    client.on_connect = lambda client, *_: client.subscribe(answer_topic, qos=1)
    client.on_subscribe = lambda *_: subscribed.put(True)
    client.on_message = lambda client, data, message: answers.put(message)
    client.connect(*address())
    client.loop_start()
    try:
        subscribed.get(timeout=ANSWER_TIMEOUT_SECONDS)  # listen first, then ask
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = answer_topic
        properties.CorrelationData = identity.bytes
        sent = client.publish(f"commands/{name}/{verb}", text, qos=1, properties=properties)
        sent.wait_for_publish(timeout=ANSWER_TIMEOUT_SECONDS)
        if verb == "stop":
            return None
        answer = answers.get(timeout=ANSWER_TIMEOUT_SECONDS)
        if answer.properties.CorrelationData != identity.bytes:
            sys.exit("an answer to someone else's question")
        return answer.payload.decode()
    except queue.Empty:
        sys.exit(f"no answer; does `sensor.py {name}` run?")
    finally:
        client.disconnect()
        client.loop_stop()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["watch"]:
            watch()
        case ["interval", name, seconds]:
            print(command(name, "interval", seconds))
        case ["stop", name]:
            command(name, "stop")
        case _:
            sys.exit(__doc__)

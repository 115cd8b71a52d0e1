"""A thermometer that reports, says whether it is there, and obeys.

python sensor.py kitchen

| topic | |
|---|---|
| sensors/kitchen/temperature | a reading each second, QoS 1 |
| sensors/kitchen/status | `online` or `offline`, retained |
| commands/kitchen/interval | seconds from one reading to the next; answered if asked for |
| commands/kitchen/stop | ends the program |
"""

import random
import sys
import threading

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import address, new_client


class Sensor:
    def __init__(self, name):
        self.name = name
        self.interval_seconds = 1.0
        self.stopped = threading.Event()
        self.status_topic = f"sensors/{name}/status"
        self.client = client = new_client(client_id=f"sensor-{name}")
        client.on_connect = self.on_connect
        client.on_disconnect = lambda client, data, flags, reason, properties: print(f"disconnected: {reason}")
        client.message_callback_add(f"commands/{name}/interval", self.on_interval)
        client.message_callback_add(f"commands/{name}/stop", lambda *_: self.stopped.set())
        # The last will: the broker publishes it for us when the connection ends without goodbye,
        # because of a crash, a flat battery, or a network that is gone.
        client.will_set(self.status_topic, "offline", qos=1, retain=True)
        # While the broker is away, readings wait here, the oldest for at most this many.
        client.max_queued_messages_set(1000)
        client.reconnect_delay_set(min_delay=1, max_delay=30)

    def on_connect(self, client, data, flags, reason, properties):
        if reason.is_failure:
            print(f"refused: {reason}")
            return
        # Here and not after connect(): subscriptions have to be made again after a reconnect.
        client.subscribe(f"commands/{self.name}/#", qos=1)
        # Retained: who subscribes later learns the present state at once.
        client.publish(self.status_topic, "online", qos=1, retain=True)
        print(f"connected as {self.name}")

    def on_interval(self, client, data, message):
        try:
            seconds = float(message.payload)
            if not 0.05 <= seconds <= 3600:
                raise ValueError
        except ValueError:
            answer = f"not an interval from 0.05 to 3600 s: {message.payload.decode(errors='replace')}"
        else:
            self.interval_seconds = seconds
            answer = f"reporting every {seconds} s"
        print(answer)
        # MQTT 5: the sender says where it wants the answer, and by what it will know it again.
        response_topic = getattr(message.properties, "ResponseTopic", None)
        if response_topic:
            properties = Properties(PacketTypes.PUBLISH)
            if hasattr(message.properties, "CorrelationData"):
                properties.CorrelationData = message.properties.CorrelationData
            client.publish(response_topic, answer, qos=1, properties=properties)

    def report(self, celsius):
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = "text/plain"
        properties.MessageExpiryInterval = 60  # seconds; an old reading is of no use to anybody
        # QoS 1: sent again until the broker has confirmed it, so it may arrive twice.
        topic = f"sensors/{self.name}/temperature"
        self.client.publish(topic, f"{celsius:.1f}", qos=1, properties=properties)

    def run(self):
        # A thread of the library does the network, and connects again when it has to.
        self.client.connect_async(*address(), keepalive=30)
        self.client.loop_start()
        celsius = 21.0
        try:
            while not self.stopped.wait(self.interval_seconds):
                celsius += random.uniform(-0.2, 0.2)
                self.report(celsius)
        except KeyboardInterrupt:
            pass
        # A goodbye means no last will: say it ourselves, and wait until it is confirmed.
        farewell = self.client.publish(self.status_topic, "offline", qos=1, retain=True)
        if self.client.is_connected():
            farewell.wait_for_publish(timeout=5)
        self.client.disconnect()
        self.client.loop_stop()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Sensor(sys.argv[1]).run()

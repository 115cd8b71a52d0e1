"""Where the broker is."""

import os
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

MQTT_URL = os.environ.get("MQTT_URL", "mqtt://localhost:1883")


def new_client(client_id):
    """A client for MQTT 5. The broker allows one connection for each client id: a second one with
    the same id takes the place of the first."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
    url = urlsplit(MQTT_URL)
    if url.username:
        client.username_pw_set(unquote(url.username), unquote(url.password or ""))
    return client


def address():
    """Host and port, as `Client.connect` wants them."""
    url = urlsplit(MQTT_URL)
    return url.hostname, url.port or 1883

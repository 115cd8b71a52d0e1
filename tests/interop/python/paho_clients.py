"""MQTT 3.1.1 and 5 with paho-mqtt: each case runs in both versions unless the version is its subject."""

import queue
import socket
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from harness import BROKER, HOST, MQTT_PORT, PASSWORD, USER, case, check, equal, main, unique

V4, V5 = mqtt.MQTTv311, mqtt.MQTTv5
OPTIONS_OF_V5 = ("interop-user-property", "value with ünïcode")


class Device:
    """A client with its inbox; leaving the `with` block disconnects it properly."""

    def __init__(self, version, client_id=None, keepalive=60, will=None, login=True, inflight=20, stays=0):
        """`stays` is for how many seconds its session is kept; 0 starts clean and keeps nothing."""
        self.version, self.stays = version, stays
        self.messages, self.acknowledged, self.reasons = queue.Queue(), queue.Queue(), queue.Queue()
        self.subscribed, self.disconnected = queue.Queue(), queue.Queue()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            unique("paho") if client_id is None else client_id,
            protocol=version,
            **({} if version == V5 else {"clean_session": not stays}),
        )
        if login:
            self.client.username_pw_set(USER, PASSWORD)
        self.client.max_inflight_messages_set(inflight)
        if will:
            self.client.will_set(**will)
        self.client.on_connect = lambda _c, _u, flags, reason, properties: self.reasons.put(
            (flags, reason, properties)
        )
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.subscribed.put(reasons)
        self.client.on_publish = lambda _c, _u, mid, reason, _p: self.acknowledged.put((mid, reason))
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self.disconnected.put(reason)
        self.keepalive = keepalive

    def __enter__(self):
        more = {"clean_start": not self.stays} if self.version == V5 else {}
        if self.version == V5 and self.stays:
            more["properties"] = Properties(PacketTypes.CONNECT)
            more["properties"].SessionExpiryInterval = self.stays
        self.client.connect(HOST, MQTT_PORT, self.keepalive, **more)
        self.client.loop_start()
        self.flags, self.reason, self.properties = self.reasons.get(timeout=10)
        check(not self.reason.is_failure, f"CONNACK says {self.reason}")
        return self

    def __exit__(self, *_exception):
        self.client.disconnect()
        self.client.loop_stop()

    def drop(self):
        """The connection is lost without a word."""
        self.client.loop_stop()
        self.client.socket().close()

    def subscribe(self, topic, qos=0, **more):
        result, _ = self.client.subscribe(topic, qos, **more)
        equal(result, mqtt.MQTT_ERR_SUCCESS, "subscribe")
        return [reason.value for reason in self.subscribed.get(timeout=10)]

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        info = self.client.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(10)
        check(info.is_published(), f"published to {topic}")

    def next(self, seconds=10):
        return self.messages.get(timeout=seconds)

    def nothing(self, seconds=0.3):
        try:
            message = self.messages.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"unexpected message on {message.topic}: {message.payload[:50]!r}")


def both(function):
    """The case once for each version of the protocol."""
    for version, suffix in ((V4, "mqtt_3_1_1"), (V5, "mqtt_5")):

        def run(version=version):
            function(version)

        run.__name__ = f"{function.__name__}_{suffix}"
        case(run, only_for=None if version == V4 or BROKER != "rabbitmq" else "brokers of MQTT 5")
    return function


def fifth(function):
    """A case that only exists in MQTT 5 (the RabbitMQ of Debian 12 does not speak it)."""
    return case(function, only_for=None if BROKER != "rabbitmq" else "brokers of MQTT 5")


@both
def qos_0_and_1(version):
    topic = unique("paho/qos")
    with Device(version) as device, Device(version) as other:
        equal(device.subscribe(topic, 0), [0], "granted")
        equal(other.subscribe(topic, 1), [1], "granted")
        for qos in (0, 1):
            other.publish(topic, f"qos {qos}", qos)
        seen = [device.next() for _ in range(2)]
        equal([(m.payload, m.qos, m.retain, m.dup) for m in seen],
              [(b"qos 0", 0, False, False), (b"qos 1", 0, False, False)], "at QoS 0")
        seen = [other.next() for _ in range(2)]
        equal([(m.payload, m.qos) for m in seen], [(b"qos 0", 0), (b"qos 1", 1)], "at QoS 1")
        equal(seen[0].topic, topic, "topic")


@both
def payloads_arrive_as_they_are(version):
    topic = unique("paho/payload")
    payloads = [b"", b"\x00", b"a\x00b", b"\xff\xfe\xfd", bytes(range(256)) * 4096]
    with Device(version) as device:
        device.subscribe(topic, 1)
        for payload in payloads:
            device.publish(topic, payload, 1)
        for payload in payloads:
            got = device.next().payload
            check(got == payload, f"{len(payload)} bytes, saw {len(got)}")


@both
def wildcards(version):
    root = unique("paho-wild")
    filters = {
        f"{root}/+/temperature": ["/kitchen/temperature", "//temperature"],
        f"{root}/#": ["", "/kitchen/temperature", "/kitchen", "/a.b/c*d", "//temperature"],
        f"{root}/+": ["/kitchen"],
        "+/kitchen": ["/kitchen"],
        f"{root}/a.b/+": ["/a.b/c*d"],
        f"{root}/+/": [],
    }
    for pattern, matching in filters.items():
        with Device(version) as device, Device(version) as sender:
            equal(device.subscribe(pattern, 1), [1], f"granted for {pattern}")
            for rest in ("", "/kitchen/temperature", "/kitchen", "/a.b/c*d", "//temperature"):
                if BROKER == "rabbitmq" and "." in rest:
                    continue  # replaced there, not coded
                sender.publish(root + rest, b"x", 1)
            wanted = [root + rest for rest in matching if not (BROKER == "rabbitmq" and "." in rest)]
            equal([device.next().topic for _ in wanted], wanted, f"topics of {pattern}")
            device.nothing()


@both
def overlapping_and_unsubscribe(version):
    topic = unique("paho/over")
    with Device(version) as device:
        device.subscribe(topic, 1)
        device.publish(topic, b"one", 1)
        equal(device.next().payload, b"one", "subscribed")
        unsubscribed = queue.Queue()
        device.client.on_unsubscribe = lambda _c, _u, _mid, reasons, _p: unsubscribed.put(reasons)
        device.client.unsubscribe(topic)
        unsubscribed.get(timeout=10)
        device.publish(topic, b"two", 1)
        device.nothing()


@both
def retained(version):
    root = unique("paho/retained")
    with Device(version) as sender:
        sender.publish(f"{root}/a", b"old", 1, retain=True)
        sender.publish(f"{root}/a", b"new", 1, retain=True)
        sender.publish(f"{root}/b", b"other", 0, retain=True)
        sender.publish(f"{root}/c", b"not kept", 1)
        time.sleep(0.2)  # QoS 0 has no answer that could be waited for
        with Device(version) as late:
            late.subscribe(f"{root}/a" if BROKER == "rabbitmq" else f"{root}/+", 1)
            seen = sorted(
                (m.topic, m.payload, m.retain)
                for m in [late.next() for _ in range(1 if BROKER == "rabbitmq" else 2)]
            )
            wanted = [(f"{root}/a", b"new", True), (f"{root}/b", b"other", True)]
            equal(seen, wanted[: len(seen)], "retained messages")
            # To those already subscribed it is a message like any other.
            sender.publish(f"{root}/a", b"live", 1, retain=True)
            message = late.next()
            equal((message.payload, message.retain), (b"live", False), "live")
            late.nothing()
        for name in "ab":
            sender.publish(f"{root}/{name}", b"", 1, retain=True)
        with Device(version) as later:
            later.subscribe(f"{root}/a", 1)
            later.nothing()


@both
def will_after_a_broken_connection(version):
    topic = unique("paho/will")
    will = {"topic": topic, "payload": b"gone", "qos": 1, "retain": False}
    with Device(version) as watcher:
        watcher.subscribe(topic, 1)
        device = Device(version, will=will)
        device.__enter__()
        # The socket dies without a DISCONNECT.
        device.client.loop_stop()
        device.client.socket().shutdown(socket.SHUT_RDWR)
        device.client.socket().close()
        message = watcher.next()
        equal((message.payload, message.qos, message.retain), (b"gone", 1, False), "the will")


@both
def no_will_after_disconnect(version):
    topic = unique("paho/will")
    with Device(version) as watcher:
        watcher.subscribe(topic, 1)
        with Device(version, will={"topic": topic, "payload": b"gone", "qos": 1}):
            pass
        watcher.nothing(0.5)


@both
def takeover_ends_the_older_connection(version):
    client_id = unique("paho-twice")
    topic = unique("paho/will")
    with Device(version) as watcher:
        watcher.subscribe(topic, 1)
        older = Device(version, client_id, will={"topic": topic, "payload": b"taken over", "qos": 1})
        older.__enter__()
        with Device(version, client_id) as newer:
            reason = older.disconnected.get(timeout=10)
            older.client.loop_stop()
            if version == V5:
                equal(reason.value, 0x8E, "DISCONNECT says session taken over")
            if BROKER != "rabbitmq":
                equal(watcher.next().payload, b"taken over", "its will")
            newer.subscribe(topic + "/2", 1)
            newer.publish(topic + "/2", b"alive", 1)
            equal(newer.next().payload, b"alive", "the newer one works")


@both
def keep_alive_by_pings(version):
    with Device(version, keepalive=1) as device:
        time.sleep(3)
        check(device.client.is_connected(), "PINGREQ keeps the connection")
        check(device.disconnected.empty(), "no disconnect in between")


@both
def silence_beyond_keep_alive_closes(version):
    topic = unique("paho/will")
    with Device(version) as watcher:
        watcher.subscribe(topic, 1)
        device = Device(version, keepalive=1, will={"topic": topic, "payload": b"silent", "qos": 1})
        device.__enter__()
        device.client.loop_stop()  # nobody sends PINGREQ now
        started = time.monotonic()
        equal(watcher.next(5).payload, b"silent", "the will of the silent client")
        check(0.5 < time.monotonic() - started < 4, "after 1.5 times the keep-alive")
        device.client.socket().close()


@both
def wrong_password_is_refused(version):
    device = Device(version)
    device.client.username_pw_set(USER, PASSWORD + "x")
    device.client.connect(HOST, MQTT_PORT)
    device.client.loop_start()
    _, reason, _ = device.reasons.get(timeout=10)
    device.client.loop_stop()
    # paho translates the return code 4 of 3.1.1 into the reason codes of MQTT 5.
    equal(reason.value, 134, f"bad user name or password, saw {reason}")


@both
def no_credentials_is_guest_on_loopback(version):
    with Device(version, login=False) as device:
        topic = unique("paho/anonymous")
        device.subscribe(topic, 1)
        device.publish(topic, b"hello", 1)
        equal(device.next().payload, b"hello", "round trip")


@both
def empty_client_id(version):
    with Device(version, client_id="") as device:
        topic = unique("paho/no-id")
        device.subscribe(topic, 1)
        device.publish(topic, b"hello", 1)
        equal(device.next().payload, b"hello", "round trip")
        if version == V5:
            check(device.properties.AssignedClientIdentifier, "CONNACK names the client")


@both
def in_order_under_load(version):
    topic, count = unique("paho/order"), 5_000
    with Device(version) as reader, Device(version, inflight=100) as writer:
        reader.subscribe(topic, 1)
        for number in range(count):
            last = writer.client.publish(topic, str(number), 1)
        last.wait_for_publish(20)
        seen = [int(reader.next().payload) for _ in range(count)]
        check(seen == list(range(count)), "all, in order")


@both
def several_filters_in_one_subscribe(version):
    root = unique("paho/many")
    with Device(version) as device:
        if version == V5:
            filters = [(f"{root}/a", SubscribeOptions(qos=0)), (f"{root}/b", SubscribeOptions(qos=1))]
        else:
            filters = [(f"{root}/a", 0), (f"{root}/b", 1)]
        device.client.subscribe(filters)
        equal([reason.value for reason in device.subscribed.get(timeout=10)], [0, 1], "granted")
        for name in "ab":
            device.publish(f"{root}/{name}", name, 1)
        equal([(m.payload, m.qos) for m in (device.next(), device.next())], [(b"a", 0), (b"b", 1)], "both")


@fifth
def properties_of_mqtt_5():
    topic = unique("paho/properties")
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    properties.ResponseTopic = "replies/here"
    properties.CorrelationData = b"\x00\x01binary\xff"
    properties.PayloadFormatIndicator = 1
    properties.MessageExpiryInterval = 600
    properties.UserProperty = OPTIONS_OF_V5
    properties.UserProperty = ("repeated", "1")
    properties.UserProperty = ("repeated", "2")
    with Device(V5) as device:
        device.subscribe(topic, 1)
        device.publish(topic, b"{}", 1, properties=properties)
        got = device.next().properties
        equal(got.ContentType, "application/json", "content type")
        equal(got.ResponseTopic, "replies/here", "response topic")
        equal(got.CorrelationData, b"\x00\x01binary\xff", "correlation data")
        equal(got.PayloadFormatIndicator, 1, "payload format")
        check(590 <= got.MessageExpiryInterval <= 600, f"expiry, saw {got.MessageExpiryInterval}")
        equal(got.UserProperty, [OPTIONS_OF_V5, ("repeated", "1"), ("repeated", "2")], "in order, repeated")


@fifth
def request_and_response():
    request_topic, reply_topic = unique("paho/request"), unique("paho/response")
    with Device(V5) as server, Device(V5) as client:
        def answer(_client, _userdata, message):
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = message.properties.CorrelationData
            server.client.publish(message.properties.ResponseTopic, message.payload.upper(), 1, properties=properties)

        server.client.on_message = answer
        server.subscribe(request_topic, 1)
        client.subscribe(reply_topic, 1)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = reply_topic, b"42"
        client.publish(request_topic, b"question", 1, properties=properties)
        reply = client.next()
        equal((reply.payload, reply.properties.CorrelationData), (b"QUESTION", b"42"), "the reply")


@fifth
def no_local_and_subscription_identifier():
    topic = unique("paho/options")
    with Device(V5) as device, Device(V5) as other:
        properties = Properties(PacketTypes.SUBSCRIBE)
        properties.SubscriptionIdentifier = 77
        device.client.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True), properties=properties)
        equal([reason.value for reason in device.subscribed.get(timeout=10)], [1], "granted")
        device.publish(topic, b"own", 1)
        other.publish(topic, b"foreign", 1)
        message = device.next()
        equal(message.payload, b"foreign", "not its own")
        equal(message.properties.SubscriptionIdentifier, [77], "subscription identifier")
        device.nothing()


@fifth
def retain_handling_and_retain_as_published():
    topic = unique("paho/handling")
    with Device(V5) as device:
        device.publish(topic, b"kept", 1, retain=True)
        device.client.subscribe(topic, options=SubscribeOptions(qos=1, retainHandling=2, retainAsPublished=True))
        device.subscribed.get(timeout=10)
        device.nothing()
        device.publish(topic, b"live", 1, retain=True)
        message = device.next()
        equal((message.payload, message.retain), (b"live", True), "retain as published")
        device.publish(topic, b"", 1, retain=True)


@fifth
def publish_to_nobody_says_so():
    with Device(V5) as device:
        device.publish(unique("paho/nobody"), b"x", 1)
        _, reason = device.acknowledged.get(timeout=10)
        equal(reason.value, 0x10, "PUBACK: no matching subscribers")


@both
def a_session_waits_for_its_device(version):
    topic, name = unique("paho/kept"), unique("paho-kept")
    with Device(version, name, stays=60) as device:
        equal(device.flags.session_present, False, "session present")
        equal(device.subscribe(topic, 1), [1], "granted")
    with Device(version) as other:
        for number in range(20):
            other.publish(topic, f"{number}", 1)
    with Device(version, name, stays=60) as device:
        equal(device.flags.session_present, True, "session present")
        equal([device.next().payload for _ in range(20)], [b"%d" % number for number in range(20)], "what came")
    with Device(version, name) as device:
        equal(device.flags.session_present, False, "a clean start ends it")
    with Device(version, name, stays=60) as device:
        equal(device.flags.session_present, False, "and leaves nothing")
        device.client.disconnect()


@both
def what_was_not_acknowledged_is_repeated(version):
    topic, name = unique("paho/repeated"), unique("paho-repeated")
    device = Device(version, name, stays=60)
    device.client.manual_ack_set(True)
    with device, Device(version) as other:
        device.subscribe(topic, 1)
        other.publish(topic, b"again", 1)
        first = device.next()
        equal(first.dup, False, "DUP at first")
        device.drop()
    with Device(version, name, stays=60) as back:
        again = back.next()
        equal((again.payload, again.dup, again.mid), (b"again", True, first.mid), "repeated under its identifier")
        back.nothing()


@both
def qos_2_both_ways(version):
    topic, name = unique("paho/exactly"), unique("paho-exactly")
    with Device(version, name, stays=60) as device, Device(version) as other:
        equal(device.subscribe(topic, 2), [2], "granted")
        for number in range(200):
            other.publish(topic, f"{number}", 2)
        seen = [device.next() for _ in range(200)]
        equal([int(message.payload) for message in seen], list(range(200)), "each once, in order")
        equal({message.qos for message in seen}, {2}, "QoS")
        device.nothing()
    with Device(version, name, stays=60) as back:
        back.nothing()


@both
def qos_2_survives_lost_connections(version):
    """The publisher's and the subscriber's connections break again and again; paho repeats what it
    must, and every message arrives once."""
    topic, name, count = unique("paho/breaking"), unique("paho-breaking"), 60
    received = []
    publisher = Device(version, unique("paho-publisher"), stays=60)
    device = Device(version, name, stays=60)
    device.client.on_message = lambda _c, _u, message: received.append(int(message.payload))
    for breaking in (publisher, device):
        breaking.client.reconnect_delay_set(1, 1)
    with publisher, device:
        device.subscribe(topic, 2)
        infos = []
        for number in range(count):
            infos.append(publisher.client.publish(topic, f"{number}", 2))
            if number % 20 == 10:
                (publisher if number % 40 == 10 else device).client.socket().shutdown(socket.SHUT_RDWR)
                time.sleep(1.3)
        for info in infos:
            info.wait_for_publish(10)
        end = time.monotonic() + 10
        while len(received) < count and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        equal(sorted(received), list(range(count)), "each once")


@fifth
def a_takeover_says_so_and_a_will_waits():
    topic, name = unique("paho/late-will"), unique("paho-late")
    will = Properties(PacketTypes.WILLMESSAGE)
    will.WillDelayInterval = 1
    with Device(V5) as watcher:
        watcher.subscribe(topic, 1)
        old = Device(V5, name, stays=60, will={"topic": topic, "payload": b"late", "qos": 1, "properties": will})
        with old:
            with Device(V5, name, stays=60) as new:
                equal(new.flags.session_present, True, "session present")
                equal(old.disconnected.get(timeout=10).value, 0x8E, "what the old one is told")
                # paho connects again by itself, which would take it back.
                old.client.loop_stop()
        watcher.nothing(1.3)
        lost = Device(V5, name, stays=60, will={"topic": topic, "payload": b"late", "qos": 1, "properties": will})
        with lost:
            lost.drop()
        watcher.nothing(0.6)
        equal(watcher.next().payload, b"late", "the will after its delay")


@case
def unauthenticated_version_4_session_flags():
    """A clean session is never present, whatever was before."""
    client_id = unique("paho-clean")
    for _ in range(2):
        with Device(V4, client_id) as device:
            equal(device.flags.session_present, False, "session present")


main("paho-mqtt")

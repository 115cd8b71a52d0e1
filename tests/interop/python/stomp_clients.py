"""stomp.py in STOMP 1.0, 1.1 and 1.2: each case runs in every version that has what it needs."""

import time

import stomp

from harness import BROKER, case, check, equal, main, unique, wait_until
from stomp_connection import Peer


def versions(*names):
    """The case once for each of the versions."""

    def register(function):
        for version in names:

            def run(version=version):
                function(version)

            run.__name__ = f"{function.__name__}_stomp_{version.replace('.', '_')}"
            case(run)
        return function

    return register


@versions("1.0", "1.1", "1.2")
def connected_says_the_version(version):
    with Peer(version) as peer:
        equal(peer.connected_headers.get("version", "1.0"), version, "version")
        check(peer.connected_headers.get("session"), "a session id")


@versions("1.0", "1.1", "1.2")
def send_and_subscribe_on_a_queue(version):
    destination = f"/queue/{unique('stomp')}"
    with Peer(version) as sender, Peer(version) as receiver:
        sender.send(destination, b"before", **{"content-type": "text/plain", "custom": "a:b\\c"})
        receiver.subscribe(destination, id="s1")
        frame = receiver.next()
        equal(frame.body, b"before", "sent before the subscription")
        equal(frame.headers["destination"], destination, "destination")
        equal(frame.headers["content-type"], "text/plain", "content type")
        check(frame.headers["message-id"], "a message id")
        if version != "1.0":
            equal(frame.headers["subscription"], "s1", "subscription")
            equal(frame.headers["custom"], "a:b\\c", "escaped header")
        sender.send(destination, "grüße".encode())
        equal(receiver.next().body.decode(), "grüße", "after it")


@versions("1.0", "1.1", "1.2")
def topics_fan_out(version):
    name = unique("stomp")
    with Peer(version) as sender, Peer(version) as first, Peer(version) as second:
        first.subscribe(f"/topic/{name}.*")
        second.subscribe(f"/topic/{name}.#")
        sender.send(f"/topic/{name}.a", b"one")
        sender.send(f"/topic/{name}.a.b", b"two")
        frame = first.next()
        equal((frame.body, frame.headers["destination"]), (b"one", f"/topic/{name}.a"), "one word")
        first.nothing()
        equal([second.next().body for _ in range(2)], [b"one", b"two"], "many words")


@versions("1.0", "1.1", "1.2")
def exchange_destinations(version):
    key = unique("key")
    with Peer(version) as peer:
        peer.subscribe(f"/exchange/amq.direct/{key}")
        peer.send(f"/exchange/amq.direct/{key}", b"direct")
        frame = peer.next()
        equal((frame.body, frame.headers["destination"]), (b"direct", f"/exchange/amq.direct/{key}"), "direct")


@versions("1.0", "1.1", "1.2")
def queues_are_shared(version):
    destination = f"/queue/{unique('stomp')}"
    with Peer(version) as sender, Peer(version) as first, Peer(version) as second:
        first.subscribe(destination, id="1")
        second.subscribe(destination, id="2")
        for number in range(10):
            sender.send(destination, str(number).encode())
        wait_until(lambda: first.messages.qsize() + second.messages.qsize() == 10, "10 messages")
        check(first.messages.qsize() > 0 and second.messages.qsize() > 0, "both got some")


@versions("1.0", "1.1", "1.2")
def bodies_arrive_as_they_are(version):
    destination = f"/queue/{unique('stomp')}"
    bodies = [b"", b"\x00", b"a\x00b\x00", b"\xff\xfe\xfd", b"\n\n", bytes(range(256)) * 4096]
    with Peer(version) as peer:
        peer.subscribe(destination)
        for body in bodies:
            peer.send(destination, body)
        for body in bodies:
            frame = peer.next()
            check(frame.body == body, f"{len(body)} bytes {body[:8]!r}, saw {len(frame.body)}: {frame.body[:8]!r}")


@versions("1.0", "1.1", "1.2")
def ack_client_is_cumulative(version):
    destination = f"/queue/{unique('stomp')}"
    with Peer(version) as sender:
        for number in range(4):
            sender.send(destination, str(number).encode())
        with Peer(version) as peer:
            peer.subscribe(destination, ack="client")
            frames = [peer.next() for _ in range(4)]
            equal([frame.body for frame in frames], [b"0", b"1", b"2", b"3"], "order")
            peer.ack(frames[2])
        with Peer(version) as peer:
            peer.subscribe(destination)
            equal(peer.next().body, b"3", "not acknowledged")
            peer.nothing()


@versions("1.1", "1.2")
def ack_client_individual_and_nack(version):
    destination = f"/queue/{unique('stomp')}"
    with Peer(version) as sender:
        for number in range(3):
            sender.send(destination, str(number).encode())
        with Peer(version) as peer:
            peer.subscribe(destination, ack="client-individual")
            frames = [peer.next() for _ in range(3)]
            peer.ack(frames[1])
            peer.nack(frames[0])
            again = peer.next()
            equal((again.body, again.headers["redelivered"]), (b"0", "true"), "NACK requeues")
            peer.nack(again, requeue="false")
            peer.nothing()
        with Peer(version) as peer:
            peer.subscribe(destination)
            equal(peer.next().body, b"2", "what was neither acknowledged nor dropped")
            peer.nothing()


@versions("1.1", "1.2")
def prefetch_count_limits_what_is_outstanding(version):
    destination = f"/queue/{unique('stomp')}"
    with Peer(version) as peer:
        for number in range(3):
            peer.send(destination, str(number).encode())
        peer.subscribe(destination, ack="client-individual", **{"prefetch-count": "1"})
        for number in range(3):
            frame = peer.next()
            equal(frame.body, str(number).encode(), "one at a time")
            peer.nothing(0.1)
            peer.ack(frame)


@versions("1.0", "1.1", "1.2")
def unsubscribe_stops_deliveries(version):
    destination = f"/queue/{unique('stomp')}"
    with Peer(version) as peer:
        peer.subscribe(destination, id="7")
        peer.connection.unsubscribe(id="7", headers={"receipt": "stopped"})
        peer.receipt("stopped")
        peer.send(destination, b"kept in the queue")
        peer.nothing()
        peer.subscribe(destination, id="8")
        equal(peer.next().body, b"kept in the queue", "for the next subscriber")


@versions("1.0", "1.1", "1.2")
def transactions(version):
    destination = f"/queue/{unique('stomp')}"
    with Peer(version) as peer:
        peer.subscribe(destination)
        peer.connection.begin("t1")
        peer.connection.send(destination, b"one", headers={"transaction": "t1"})
        peer.connection.send(destination, b"two", headers={"transaction": "t1"})
        peer.nothing()
        peer.connection.commit("t1")
        equal([peer.next().body for _ in range(2)], [b"one", b"two"], "after COMMIT")
        peer.connection.begin("t2")
        peer.connection.send(destination, b"never", headers={"transaction": "t2"})
        peer.connection.abort("t2", headers={"receipt": "aborted"})
        peer.receipt("aborted")
        peer.nothing()


@versions("1.1", "1.2")
def heart_beats_in_both_directions(version):
    with Peer(version, heartbeats=(1000, 1000)) as peer:
        server_sends, server_wants = peer.connected_headers["heart-beat"].split(",")
        check(0 < int(server_sends) <= 10_000, f"the server sends, saw {server_sends}")
        check(0 < int(server_wants) <= 10_000, f"the server wants, saw {server_wants}")
        time.sleep(3.2)
        check(peer.connection.is_connected(), "still connected")
        check(peer.heart_beats_seen >= 2, f"heart-beats from the server, saw {peer.heart_beats_seen}")
        check(peer.disconnected.empty(), "no disconnect in between")


@versions("1.1", "1.2")
def silence_beyond_heart_beat_closes(version):
    peer = Peer(version, heartbeats=(1000, 0))
    # The client promises heart-beats and then sends none.
    peer.connection.on_connected = lambda frame: None
    with peer:
        peer.disconnected.get(timeout=8)


@versions("1.0", "1.1", "1.2")
def wrong_passcode_is_an_error(version):
    peer = Peer(version, passcode="wrong")
    try:
        with peer:
            raise AssertionError("a wrong passcode must be refused")
    except stomp.exception.ConnectFailedException:
        pass
    frame = peer.errors.get(timeout=5)
    equal(frame.headers["message"], "Bad CONNECT", "message of the ERROR")
    check(b"Access refused for user" in frame.body, f"body of the ERROR, saw {frame.body!r}")


@versions("1.1", "1.2")
def unknown_destination_is_an_error(version):
    with Peer(version) as peer:
        peer.connection.send("/nonsense/a", b"x", headers={"receipt": "r"})
        frame = peer.errors.get(timeout=5)
        equal(frame.headers["message"], "Unknown destination", "message of the ERROR")
        if BROKER != "rabbitmq":
            equal(frame.headers.get("receipt-id"), "r", "names the failing frame")


@versions("1.2")
def reply_to_travels(version):
    destination, replies = f"/queue/{unique('stomp')}", f"/queue/{unique('replies')}"
    with Peer(version) as server, Peer(version) as client:
        server.subscribe(destination)
        client.subscribe(replies)
        client.send(destination, b"question", **{"reply-to": replies, "correlation-id": "42"})
        request = server.next()
        check(request.headers.get("reply-to"), "a reply-to")
        server.send(
            request.headers["reply-to"], b"answer", **{"correlation-id": request.headers["correlation-id"]}
        )
        reply = client.next()
        equal((reply.body, reply.headers["correlation-id"]), (b"answer", "42"), "the reply")


@versions("1.2")
def in_order_under_load(version):
    destination, count = f"/queue/{unique('stomp')}", 5_000
    with Peer(version) as sender, Peer(version) as receiver:
        receiver.subscribe(destination)
        for number in range(count):
            sender.connection.send(destination, str(number).encode())
        seen = [int(receiver.next().body) for _ in range(count)]
        check(seen == list(range(count)), "all, in order")


main("stomp.py")

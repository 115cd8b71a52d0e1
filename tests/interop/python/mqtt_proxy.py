"""A TCP proxy between one MQTT client and the broker that does something at one packet of the flow.

It reads no more of MQTT than where packets end and what they are.
"""

import socket
import threading

NAMES = {
    1: "CONNECT", 2: "CONNACK", 3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP", 8: "SUBSCRIBE",
    9: "SUBACK", 10: "UNSUBSCRIBE", 11: "UNSUBACK", 12: "PINGREQ", 13: "PINGRESP", 14: "DISCONNECT", 15: "AUTH",
}


class Step:
    """The `nth` packet of a name, from the client ("up") or from the broker ("down"); it still goes
    through if `passes`, and then the connection is cut."""

    def __init__(self, name, direction, passes, nth=3):
        self.name, self.direction, self.passes, self.nth = name, direction, passes, nth

    def __str__(self):
        return f"{self.name} {'arrived' if self.passes else 'lost'}"


class StepProxy:
    """Cuts at `step`, once, after `action` has run; what comes later goes through."""

    def __init__(self, host, port, step, action=lambda: None):
        self.address, self.step, self.action = (host, port), step, action
        self.fired = threading.Event()
        self._lock, self._seen, self._sockets = threading.Lock(), 0, set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        for end in list(self._sockets):
            _close(end)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(self.address, 30)
            except OSError:
                # The broker is not there; the client shall try again.
                client.close()
                continue
            for end in (client, broker):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(None)
                self._sockets.add(end)
            for source, target, direction in ((client, broker, "up"), (broker, client, "down")):
                threading.Thread(target=self._pump, args=(source, target, direction), daemon=True).start()

    def _pump(self, source, target, direction):
        try:
            while (packet := _packet(source)) is not None:
                if not self._is_the_one(packet, direction):
                    target.sendall(packet)
                    continue
                if self.step.passes:
                    target.sendall(packet)
                self.action()
                # Not a reset: what was passed on shall be read.
                _close(target)
                self.fired.set()
                break
        except OSError:
            pass
        for end in (source, target):
            _close(end)
            self._sockets.discard(end)

    def _is_the_one(self, packet, direction):
        if direction != self.step.direction or NAMES.get(packet[0] >> 4) != self.step.name:
            return False
        with self._lock:
            self._seen += 1
            return self._seen == self.step.nth


def _packet(source):
    """One packet with its header; `None` at the end of the stream."""
    header = _exactly(source, 2)
    if header is None:
        return None
    length, shift, last = 0, 0, header[1]
    length = last & 0x7F
    while last & 0x80:
        shift += 7
        byte = _exactly(source, 1)
        if byte is None:
            return None
        header += byte
        last = byte[0]
        length |= (last & 0x7F) << shift
    rest = _exactly(source, length)
    return None if rest is None else header + rest


def _exactly(source, count):
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            return None
        data += more
    return data


def _close(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()

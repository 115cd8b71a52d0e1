"""One stomp.py connection with its inbox, in the version of STOMP that is asked for."""

import queue

import stomp

from harness import BROKER, HOST, PASSWORD, STOMP_PORT, USER, unique

CONNECTIONS = {
    "1.0": stomp.StompConnection10,
    "1.1": stomp.StompConnection11,
    "1.2": stomp.StompConnection12,
}


class Peer(stomp.ConnectionListener):
    """Leaving the `with` block disconnects with a receipt, as a polite client does."""

    def __init__(self, version="1.2", heartbeats=(0, 0), passcode=PASSWORD, port=STOMP_PORT):
        self.version, self.passcode = version, passcode
        self.messages, self.receipts, self.errors = queue.Queue(), queue.Queue(), queue.Queue()
        self.connected, self.disconnected = queue.Queue(), queue.Queue()
        self.heart_beats_seen = 0
        more = {} if version == "1.0" else {"heartbeats": heartbeats}
        # RabbitMQ takes `host` for a virtual host; stomp.py sends the host name it dialled.
        if version != "1.0" and BROKER == "rabbitmq":
            more["vhost"] = "/"
        self.connection = CONNECTIONS[version](
            [(HOST, port)], auto_decode=False, reconnect_attempts_max=1, **more
        )
        self.connection.set_listener("peer", self)

    def __enter__(self):
        self.connection.connect(USER, self.passcode, wait=True)
        self.connected_headers = self.connected.get(timeout=10).headers
        return self

    def __exit__(self, *_exception):
        if self.connection.is_connected():
            self.connection.disconnect(receipt=unique("bye"))

    def on_connected(self, frame):
        self.connected.put(frame)

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_disconnected(self):
        self.disconnected.put(True)

    def on_heartbeat(self):
        self.heart_beats_seen += 1

    def next(self, seconds=10):
        return self.messages.get(timeout=seconds)

    def nothing(self, seconds=0.3):
        try:
            frame = self.messages.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"unexpected MESSAGE {frame.headers} {frame.body[:50]!r}")

    def receipt(self, expected, seconds=10):
        seen = self.receipts.get(timeout=seconds)
        if seen != expected:
            raise AssertionError(f"receipt: expected {expected}, saw {seen}")

    def subscribe(self, destination, id="0", ack="auto", **headers):
        """Returns when the broker has answered, so that nothing sent later is missed."""
        receipt = unique("subscribed")
        self.connection.subscribe(
            destination, id=id, ack=ack, headers={"receipt": receipt, **headers}
        )
        self.receipt(receipt)

    def send(self, destination, body, **headers):
        """Returns when the broker has taken the message."""
        receipt = unique("sent")
        self.connection.send(destination, body, headers={"receipt": receipt, **headers})
        self.receipt(receipt)

    def ack(self, frame, transaction=None):
        self._settle(self.connection.ack, frame, transaction)

    def nack(self, frame, **headers):
        self._settle(self.connection.nack, frame, None, **headers)

    def _settle(self, method, frame, transaction, **headers):
        receipt = unique("settled")
        if self.version == "1.2":
            method(frame.headers["ack"], transaction, receipt, **headers)
        elif self.version == "1.1":
            method(frame.headers["message-id"], frame.headers["subscription"], transaction, receipt, **headers)
        else:
            method(frame.headers["message-id"], transaction, receipt)
        self.receipt(receipt)

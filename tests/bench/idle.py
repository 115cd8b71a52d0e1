#!/usr/bin/env python3
"""What an idle MQTT connection costs: resident bytes of the broker, beside mosquitto's.

    cargo build --release
    tests/bench/idle.py --trivium target/release/trivium

Opens --connections (10,000) connections to each broker in turn, each with a clean session and no
keep-alive, and reads VmRSS of the broker's process before and after. With --subscribe every client
subscribes to a topic of its own at QoS 0, with --subscribe-1 at QoS 1 (which in Trivium makes the
session's queue). With --sessions N instead, N clients connect one after the other with a session that
stays, subscribe at QoS 1 and leave, at most --at-once (5,000) of them connected at a time; then one
message is published to all of them. Brokers are started on free loopback ports and stopped again. Needs Linux, and
twice as many file descriptors as connections (`ulimit -Hn`); says so when there are fewer.
"""

import argparse
import collections
import pathlib
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

PATIENCE_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def field(text):
    return struct.pack(">H", len(text)) + text.encode()


def packet(first, body):
    assert len(body) < 128
    return bytes([first, len(body)]) + body


def dial(port):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def expect(connection, wanted):
    read = b""
    while len(read) < len(wanted):
        more = connection.recv(len(wanted) - len(read))
        if not more:
            break
        read += more
    if read != wanted:
        sys.exit(f"the broker answered {read!r}, not {wanted!r}")


def client(port, number, qos, is_clean=True):
    connection = dial(port)
    name = f"idle-{number}"
    flags = b"\x02" if is_clean else b"\0"
    connection.sendall(packet(0x10, b"\0\x04MQTT\x04" + flags + b"\0\0" + field(name)))
    expect(connection, b"\x20\x02\0\0")
    if qos is not None:
        topic = f"idle/{number}"
        connection.sendall(packet(0x82, b"\0\x01" + field(topic) + bytes([qos])))
        expect(connection, b"\x90\x03\0\x01" + bytes([qos]))
    return connection


def leave(connection):
    connection.sendall(b"\xE0\0")
    connection.close()


def measure_sessions(name, command, port, count, at_once):
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        publisher = client(port, "publisher", None)
        before = resident_bytes(broker.pid)
        begun = time.monotonic()
        connected = collections.deque()
        for number in range(count):
            if len(connected) == at_once:
                leave(connected.popleft())
            connection = client(port, number, None, is_clean=False)
            # Half of the filters are the client's own, half are everybody's.
            mine = packet(0x82, b"\0\x01" + field(f"session/{number}") + b"\1")
            all_s = packet(0x82, b"\0\x02" + field("session/all") + b"\1")
            connection.sendall(mine + all_s)
            expect(connection, b"\x90\x03\0\x01\1\x90\x03\0\x02\1")
            connected.append(connection)
        while connected:
            leave(connected.popleft())
        took = time.monotonic() - begun
        time.sleep(2)
        after = resident_bytes(broker.pid)
        begun = time.monotonic()
        publisher.settimeout(600)
        publisher.sendall(packet(0x32, field("session/all") + b"\0\x03hello"))
        expect(publisher, b"\x40\x02\0\x03")
        fan_out = time.monotonic() - begun
        time.sleep(2)
        kept = resident_bytes(broker.pid)
        print(f"{name:10} {before / 2**20:8.1f} MiB {after / 2**20:8.1f} MiB "
              f"{(after - before) / count:8.0f} bytes a session, "
              f"{(kept - after) / count:.0f} more with a message   "
              f"({count} in {took:.1f} s, the message in {fan_out:.2f} s)", flush=True)
    finally:
        broker.terminate()
        broker.wait()


def measure(name, command, port, count, qos):
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # The first connections pay for what is made once.
        warm = [client(port, -1 - number, qos) for number in range(100)]
        time.sleep(1)
        before = resident_bytes(broker.pid)
        begun = time.monotonic()
        idle = [client(port, number, qos) for number in range(count)]
        took = time.monotonic() - begun
        time.sleep(2)
        after = resident_bytes(broker.pid)
        each = (after - before) / count
        print(f"{name:10} {before / 2**20:8.1f} MiB {after / 2**20:8.1f} MiB "
              f"{each:8.0f} bytes a connection   ({count} in {took:.1f} s)", flush=True)
        for connection in idle + warm:
            connection.close()
    finally:
        broker.terminate()
        broker.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trivium", default="target/release/trivium", help="the binary")
    parser.add_argument("--mosquitto", default=shutil.which("mosquitto", path="/usr/sbin:/usr/bin"))
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=5_000)
    parser.add_argument("--subscribe", dest="qos", action="store_const", const=0)
    parser.add_argument("--subscribe-1", dest="qos", action="store_const", const=1)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = options.at_once if options.sessions else options.connections
    if hard < count + 1000:
        sys.exit(f"needs {count + 1000} file descriptors, and may have {hard}")

    def run(name, command, port):
        if options.sessions:
            measure_sessions(name, command, port, options.sessions, options.at_once)
        else:
            measure(name, command, port, options.connections, options.qos)

    print(f"{'':10} {'before':>12} {'after':>12}")
    port = free_port()
    doors = [f"--listen={name}=off" for name in ("amqp", "stomp", "http")]
    run("trivium", [options.trivium, "--ephemeral", f"--listen=mqtt=127.0.0.1:{port}", *doors], port)
    if not options.mosquitto:
        print("mosquitto  is not installed")
        return
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as settings:
        settings.write(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_connections -1\n")
        settings.flush()
        run("mosquitto", [options.mosquitto, "-c", settings.name], port)


if __name__ == "__main__":
    main()

"""Runs the cases of one suite, each under a deadline, and says PASS, FAIL or SKIPPED for each.

A case is a function that raises when it sees something it does not expect. Where the broker
listens comes from the environment (see ../README.md), so the same programs run against any broker.
"""

import os
import signal
import sys
import time
import traceback
import uuid
from pathlib import Path

BROKER = os.environ.get("INTEROP_BROKER", "trivium")
HOST = os.environ.get("INTEROP_HOST", "localhost")
AMQP_PORT = int(os.environ.get("INTEROP_AMQP_PORT", "5672"))
MQTT_PORT = int(os.environ.get("INTEROP_MQTT_PORT", "1883"))
STOMP_PORT = int(os.environ.get("INTEROP_STOMP_PORT", "61613"))
USER = os.environ.get("INTEROP_USER", "guest")
PASSWORD = os.environ.get("INTEROP_PASSWORD", "guest")

# Long enough for a slow shared machine, short enough that a hung case is noticed the same minute.
CASE_SECONDS = int(os.environ.get("INTEROP_CASE_SECONDS", "30"))

_CASES = []


class Deadline(BaseException):
    """Not an Exception: a client library's `except Exception` must not swallow it."""


def case(function=None, *, only_for=None, seconds=CASE_SECONDS):
    """Registers a case. `only_for` names the one broker that promises this behaviour."""

    def register(inner):
        _CASES.append((inner, only_for, seconds))
        return inner

    return register(function) if function else register


def unique(prefix):
    """A name no other run uses, so that suites can be repeated against a broker that keeps queues."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def equal(seen, expected, what):
    if seen != expected:
        raise AssertionError(f"{what}: expected {_short(expected)}, saw {_short(seen)}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def wait_until(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.01)


def _short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:280]}... ({len(value)} long)"


def _on_alarm(_signal, _frame):
    raise Deadline("not finished in time")


def main(suite):
    """Runs every registered case, or those whose name contains a word of the command line."""
    wanted = sys.argv[1:]
    failed = 0
    signal.signal(signal.SIGALRM, _on_alarm)
    for function, only_for, seconds in _CASES:
        name = f"{suite} {function.__name__}"
        if wanted and not any(word in function.__name__ for word in wanted):
            continue
        if only_for and only_for != BROKER:
            print(f"SKIPPED {name}: promised by {only_for}, and this is {BROKER}", flush=True)
            continue
        started = time.monotonic()
        signal.alarm(seconds)
        try:
            function()
        except (Exception, Deadline) as error:
            signal.alarm(0)
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {str(error)[:600]}", flush=True)
            for frame in traceback.extract_tb(error.__traceback__)[1:]:
                print(f"    {Path(frame.filename).name}:{frame.lineno} {frame.line}", flush=True)
        else:
            signal.alarm(0)
            print(f"PASS {name} ({time.monotonic() - started:.2f} s)", flush=True)
    print(f"END {suite}", flush=True)
    # Client libraries leave threads behind after a failed case; they must not hold up the exit.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if failed else 0)

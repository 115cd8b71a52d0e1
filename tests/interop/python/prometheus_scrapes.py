"""Debian's Prometheus scrapes two gateways, and what it read is held against what was sent.

One is the gateway of all suites, at its HTTP port; the other is started here, with a port for
Prometheus alone. `INTEROP_PROMETHEUS` is the folder that Debian's package was unpacked into, where
logs and data go as well; `INTEROP_GATEWAY` is the gateway's binary.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from broker_traffic import HELD, RISES, exchange_everything, held_open
from harness import AMQP_PORT, HOST, MQTT_PORT, STOMP_PORT, case, check, equal, main, wait_until

HTTP_PORT = int(os.environ.get("INTEROP_HTTP_PORT", "15672"))
BINARIES = Path(os.environ["INTEROP_PROMETHEUS"]) / "usr" / "bin"
FOLDER = Path(os.environ["INTEROP_PROMETHEUS"]) / "run"
GATEWAY = os.environ["INTEROP_GATEWAY"]
EXAMPLE = Path(__file__).parents[3] / "examples" / "prometheus" / "prometheus.yml"

# Counters that depend on how a client library writes; the others rise by what was sent, to the unit.
ROUGH = tuple(f"trivium_{name}_total" for name in ("received_bytes", "sent_bytes", "requests"))
LABELS = ("protocol", "from", "to", "field", "dead_letter_strategy")
# Gauges that are about the scrape or the process, and not about what clients did.
OTHERS = re.compile(r"up|scrape_\w+|rabbitmq_process_\w+|rabbitmq_(build|identity)_info")


def start(name, command):
    """Its log is NAME.log. It ends with this program, however that ends."""
    with (FOLDER / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )


def wait_for_log(name, process, text):
    log = FOLDER / f"{name}.log"
    wait_until(lambda: text in log.read_text() or process.poll() is not None, f"{text} in the log of {name}", 20)
    check(process.poll() is None, f"{name} ended: {log.read_text()[-500:]}")
    return log.read_text()


class Gateway:
    """A gateway of our own, on ports that the system chooses."""

    def __init__(self):
        listeners = ("amqp", "mqtt", "stomp", "http", "prometheus")
        listen = [word for name in listeners for word in ("--listen", f"{name}=127.0.0.1:0")]
        self.process = start("gateway", [GATEWAY, "--ephemeral", "--log-format", "json", *listen])
        said = map(json.loads, wait_for_log("gateway", self.process, '"ready"').splitlines())
        self.ports = {
            line["listener"]: int(line["address"].rpartition(":")[2]) for line in said if line["message"] == "listening"
        }

    def end(self):
        self.process.terminate()
        return self.process.wait(15)


class Prometheus:
    """Scrapes as two jobs, named after the kind of port, four times a second."""

    def __init__(self, targets):
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"{HOST}:{port}"]}]} for name, port in targets.items()
        ]
        times = {"scrape_interval": "250ms", "scrape_timeout": "250ms"}
        self.configuration = FOLDER / "prometheus.yml"
        # JSON is YAML.
        self.configuration.write_text(json.dumps({"global": times, "scrape_configs": jobs}))
        self.jobs = list(targets)
        with socket.create_server(("127.0.0.1", 0)) as spare:
            self.address = f"127.0.0.1:{spare.getsockname()[1]}"
        command = [BINARIES / "prometheus", f"--config.file={self.configuration}"]
        command += [f"--storage.tsdb.path={FOLDER / 'data'}", f"--web.listen-address={self.address}"]
        wait_for_log("prometheus", start("prometheus", command), "Server is ready")

    def query(self, expression):
        """The samples of an instant query, as Prometheus' HTTP API returns them."""
        address = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(address, timeout=10) as response:
            answer = json.load(response)
        equal((answer["status"], answer["data"]["resultType"]), ("success", "vector"), expression)
        return answer["data"]["result"]

    def by_job(self, expression):
        return {sample["metric"]["job"]: float(sample["value"][1]) for sample in self.query(expression)}

    def scraped(self):
        """`{job: {(name, label values): value}}`, all scraped after this was called."""
        now = time.time()

        def is_fresh():
            moments = self.by_job("timestamp(up)")
            return all(moments.get(job, 0) > now for job in self.jobs)

        wait_until(is_fresh, "a later scrape of every target")
        values = {job: {} for job in self.jobs}
        for sample in self.query('{job=~".+"}'):
            metric = sample["metric"]
            key = (metric["__name__"], *(metric[label] for label in LABELS if label in metric))
            # Types of queues are not told apart.
            of_job = values[metric["job"]]
            of_job[key] = of_job.get(key, 0.0) + float(sample["value"][1])
        return values

    def at_rest(self):
        """As `scraped`, once nobody is connected to either gateway."""
        self.scraped()
        wait_until(lambda: set(self.by_job("rabbitmq_connections").values()) == {0.0}, "no connection is left")
        return self.scraped()


shutil.rmtree(FOLDER, ignore_errors=True)
FOLDER.mkdir()
gateway = Gateway()
prometheus = Prometheus({"http": HTTP_PORT, "prometheus": gateway.ports["prometheus"]})
PORTS = {"http": {"amqp": AMQP_PORT, "mqtt": MQTT_PORT, "stomp": STOMP_PORT}, "prometheus": gateway.ports}


def metrics(port, path="/metrics"):
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=10) as response:
        return response.read()


def promtool(*arguments, text=None):
    done = subprocess.run(
        [BINARIES / "promtool", *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20
    )
    return done.returncode, done.stdout.decode()


def rises(before, after):
    """What rose; a series that was not there yet began at 0."""
    differences = {key: value - before.get(key, 0) for key, value in after.items()}
    return {key: rise for key, rise in differences.items() if rise}


def counters(values):
    return {key: value for key, value in values.items() if key[0].endswith("_total")}


def gauges(values):
    return {
        key: value for key, value in values.items() if key not in counters(values) and not OTHERS.fullmatch(key[0])
    }


def same(seen, expected, what):
    """Names only what differs: the tables are long."""
    differing = {key for key in {*seen, *expected} if seen.get(key, 0) != expected.get(key, 0)}
    lines = [f"{' '.join(key)} {expected.get(key, 0):g}, saw {seen.get(key, 0):g}" for key in sorted(differing)]
    check(not lines, f"{what}: expected {'; '.join(lines)}")


@case
def both_ports_are_up():
    prometheus.scraped()
    equal(prometheus.by_job("up"), {"http": 1.0, "prometheus": 1.0}, "up")


@case
def counters_rise_by_what_was_sent():
    before = prometheus.at_rest()
    for ports in PORTS.values():
        exchange_everything(ports)
    after = prometheus.at_rest()
    for job in PORTS:
        rose = rises(before[job], after[job])
        same({key: rise for key, rise in counters(rose).items() if key[0] not in ROUGH}, RISES, job)
        for name in ROUGH:
            for protocol in ("amqp", "mqtt", "stomp"):
                check(rose.get((name, protocol), 0) > 0, f"{job}: {name} of {protocol}")


@case
def gauges_show_what_is_open():
    before = prometheus.at_rest()
    with held_open(PORTS["http"]), held_open(PORTS["prometheus"]):
        held = prometheus.scraped()
    after = prometheus.at_rest()
    for job in PORTS:
        same(gauges(rises(before[job], held[job])), HELD, f"{job}, while open")
        same(gauges(after[job]), gauges(before[job]), f"{job}, afterwards")


@case
def gateways_tell_about_their_process():
    for job, values in prometheus.scraped().items():
        check(1e6 < values["rabbitmq_process_resident_memory_bytes",] < 2e9, f"{job}: resident memory")
        check(5 < values["rabbitmq_process_open_fds",] < values["rabbitmq_process_max_fds",], f"{job}: descriptors")
        equal((values["rabbitmq_build_info",], values["rabbitmq_identity_info",]), (1, 1), f"{job}: info")


@case
def promtool_finds_nothing():
    for job, port in (
        ("http", HTTP_PORT), ("prometheus", gateway.ports["prometheus"]), ("http beside it", gateway.ports["http"])
    ):
        text = metrics(port)
        # All three protocols, and a loss: the series that appear late are linted, too.
        for series in (b'received_total{protocol="stomp"', b"trivium_conversion_loss_total{"):
            check(series in text, f"{job}: {series}")
        equal(promtool("check", "metrics", text=text), (0, ""), f"{job}: promtool check metrics")


@case
def the_port_for_prometheus_serves_nothing_else():
    for path in ("/", "/ws", "/health/live"):
        try:
            metrics(gateway.ports["prometheus"], path)
        except urllib.error.HTTPError as error:
            equal(error.code, 404, path)
        else:
            raise AssertionError(f"{path} is served")


@case
def configurations_pass_promtool():
    for path in (EXAMPLE, prometheus.configuration):
        status, said = promtool("check", "config", str(path))
        check(status == 0 and "SUCCESS" in said, f"{path.name}: {said}")


@case
def our_own_gateway_ends():
    equal(gateway.end(), 0, "status")
    log = (FOLDER / "gateway.log").read_text()
    check("panicked at" not in log, f"a panic: {log[-300:]}")


main("prometheus")

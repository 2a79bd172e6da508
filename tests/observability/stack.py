"""The processes under test: the built binary over a folder of YAML, and a Prometheus that scrapes it with the rules."""

import base64
import datetime
import json
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
RULES = ROOT / "deploy/alerts/penstock.rules.yaml"
# Seconds that anything may take that is waited for.
DEADLINE = 30
# For `openssl ca`.
CA = """
[ca]
default_ca = own
[own]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = server
[any]
commonName = supplied
[server]
subjectAltName = DNS:app.example
"""


def eventually(what, attempt, deadline=DEADLINE):
    """The first result that is not None. What `attempt` saw last is in the error."""
    end = time.monotonic() + deadline
    while True:
        try:
            result, seen = attempt()
        except (OSError, urllib.error.URLError) as error:
            result, seen = None, error
        if result is not None:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what}; at last {seen}")
        time.sleep(0.05)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


class Process:
    """A child, with its log in a file that is shown when something fails."""

    def __init__(self, folder, name, *arguments):
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(arguments, stdout=log, stderr=log)

    def answers(self, url):
        def attempt():
            assert self.child.poll() is None, f"{self.name} has ended: {self.log.read_text()}"
            return get(url), None
        return eventually(f"{url} of {self.name}", attempt)

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Gateway:
    def __init__(self, folder):
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.http, self.https, self.admin = free_port(), free_port(), free_port()
        self.folder = folder

    def start(self):
        self.process = Process(self.folder, "penstock", os.environ["BINARY"], "run", "--manifests", str(self.manifests), "--bind-address",
                               "127.0.0.1", "--admin-address", f"127.0.0.1:{self.admin}", "--workers", "1", "--drain-timeout", "1s",
                               "--access-log", "off")
        self.process.answers(f"http://127.0.0.1:{self.admin}/readyz")

    def write(self, name, text):
        """Replaces a file at once: half of one is never seen."""
        new = self.manifests / f"{name}.new"
        new.write_text(text)
        new.rename(self.manifests / f"{name}.yaml")

    def remove(self, name):
        (self.manifests / f"{name}.yaml").unlink()

    def metrics(self):
        return get(f"http://127.0.0.1:{self.admin}/metrics")

    def certificate(self, name, age, left):
        """A Secret with a certificate of its own that began and will end so many days from now."""
        (self.folder / "ca.conf").write_text(CA.format(folder=self.folder))
        (self.folder / "index").write_text("")
        key, request, cert = (self.folder / name for name in ("key.pem", "request.pem", "cert.pem"))
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = (f"{now + datetime.timedelta(days=days):%Y%m%d%H%M%SZ}" for days in (-age, left))
        for command in [
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=app.example", "-keyout", key, "-out", request],
            # Of its commands, only this one can begin in the past.
            ["ca", "-batch", "-selfsign", "-config", self.folder / "ca.conf", "-keyfile", key, "-in", request, "-out", cert, "-notext",
             "-startdate", begin, "-enddate", end],
        ]:
            made = subprocess.run(["openssl", *command], capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr
        crt, key = (base64.b64encode(file.read_bytes()).decode() for file in (cert, key))
        self.write(name, f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: edge}}\ntype: kubernetes.io/tls\n"
                         f"data: {{tls.crt: {crt}, tls.key: {key}}}\n")


def shortened(text):
    """The rules with seconds where they have minutes: what they say is the same, and a test can wait for it."""
    rules = yaml.safe_load(text)
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule["expr"] = re.sub(r"\[\d+[mh]\]", "[5s]", rule["expr"])
        # A busy machine misses a scrape or two, and then nothing is there: that is no fault of what is tested.
        if "for" in rule and rule["alert"] != "PenstockAbsent":
            rule["for"] = "2s"
    return json.dumps(rules)


class Prometheus:
    """Scrapes twice a second, with the labels that Prometheus Operator gives to what a ServiceMonitor selects."""

    LABELS = {"namespace": "edge-system", "job": "penstock-admin", "service": "penstock-admin", "pod": "penstock-0",
              "container": "penstock", "endpoint": "admin"}

    def __init__(self, folder, target):
        rules = folder / "rules.yaml"
        rules.write_text(shortened(RULES.read_text()))
        config = folder / "prometheus.yaml"
        # JSON is YAML. honor_labels as in the chart's ServiceMonitor.
        config.write_text(json.dumps({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "penstock-admin", "honor_labels": True,
                                "static_configs": [{"targets": [f"127.0.0.1:{target}"], "labels": self.LABELS}]}]}))
        self.port = free_port()
        self.process = Process(folder, "prometheus", "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                               f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn")
        self.process.answers(f"http://127.0.0.1:{self.port}/-/ready")

    def api(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            return json.loads(get(url))["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {json.loads(error.read())['error']}") from None

    def query(self, expression):
        """The samples of an instant query; an error says where it does not parse."""
        return self.api("query", query=expression)["result"]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.api("alerts")["alerts"] if alert["state"] == "firing"}

    def fired_since(self, start):
        """Every alert that fired at some moment since then, in seconds since 1970."""
        back = int(1000 * (time.time() - start))
        found = self.query(f'count by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{back}ms]))')
        return {sample["metric"]["alertname"] for sample in found}

"""From a write to the API server to changed traffic, row by row: main.py KUBECONFIG PENSTOCK RULES ENDPOINTS CHANGES"""

import datetime
import http.client
import os
import platform
import random
import socket
import subprocess
import sys
import time

from api import Api

HOST = "change.example.com"
# Of one EndpointSlice, as the controller of Kubernetes makes them.
PER_SLICE = 100
PER_SERVICE = 1000


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def rule(name, host, service):
    return {"apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingRule", "metadata": {"name": name},
            "spec": {"gatewayRef": {"name": "edge"}, "hostNames": [host], "backend": {"services": [{"name": service, "port": 80}]}}}


def service(name):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}}


def endpoints(name, of, port, addresses):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": of}}, "ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]}


def quantiles(values):
    """Median and 99th percentile of seconds, in milliseconds."""
    ordered = sorted(values)
    return " / ".join(f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:.1f}" for share in (0.5, 0.99))


class Gateway:
    """The process under test, and what it costs."""

    def __init__(self, program, kubeconfig):
        self.port, self.admin = free_port(), free_port()
        self.process = subprocess.Popen(
            [program, "run", "--kubeconfig", kubeconfig, "--gateway-service", "shared", "--bind-address", "127.0.0.1", "--workers", "1",
             "--map-port", f"80={self.port}", "--admin-address", f"127.0.0.1:{self.admin}", "--access-log", "off"],
            stderr=subprocess.DEVNULL)
        started = time.monotonic()
        self.wait(self.is_ready, "readiness")
        self.start = time.monotonic() - started
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def is_ready(self):
        admin = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            admin.request("GET", "/readyz")
            return admin.getresponse().status == 200
        except OSError:
            return False

    def wait(self, condition, what, seconds=180):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"waited {seconds} s for {what}")
            time.sleep(0.005)

    def ask(self, host):
        """The body of an answer with 200."""
        self.connection.request("GET", "/", headers={"Host": host})
        answer = self.connection.getresponse()
        body = answer.read()
        return body if answer.status == 200 else None

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


class Bench:
    def __init__(self, kubeconfig, program, changes):
        self.api, self.kubeconfig, self.program, self.changes = Api(kubeconfig), kubeconfig, program, changes
        self.ports = free_port(), free_port()
        self.backend = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "backend.py"), *map(str, self.ports)],
                                        stdout=subprocess.PIPE)
        assert self.backend.stdout.readline() == b"ready\n"
        gateway = {"apiVersion": "penstock.dev/v1alpha1", "kind": "ApplicationGateway", "metadata": {"name": "edge"},
                   "spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}}
        self.api.create(gateway, service("echo"), endpoints("echo-1", "echo", self.ports[0], ["10.232.0.1"]),
                        service("moving"), endpoints("moving-1", "moving", self.ports[0], ["10.232.0.2"]),
                        rule("change", HOST, "echo"), rule("moving", "moving.example.com", "moving"))
        self.rules, self.endpoints, self.turn = 2, 2, 0

    def fill(self, rules):
        self.api.create(*(rule(f"filler-{n}", f"filler-{n}.example.com", "echo") for n in range(self.rules, rules)))
        self.rules = max(rules, self.rules)

    def fill_endpoints(self, count):
        """Services of 1,000 endpoints, each with a rule."""
        for of in range(count // PER_SERVICE):
            name = f"large-{of}"
            slices = [endpoints(f"{name}-{n}", name, self.ports[0], [f"10.232.{10 + of * 10 + n}.{1 + at}" for at in range(PER_SLICE)])
                      for n in range(PER_SERVICE // PER_SLICE)]
            self.api.create(service(name), *slices, rule(name, f"{name}.example.com", name))
            self.rules, self.endpoints = self.rules + 1, self.endpoints + PER_SERVICE

    def change(self, gateway, kind, name, patch, arrived):
        """Seconds until the API server has answered, and until the traffic has changed."""
        time.sleep(random.uniform(0.02, 0.06))
        started = time.monotonic()
        self.api.patch(kind, name, patch)
        accepted = time.monotonic() - started
        while not arrived():
            if time.monotonic() - started > 30:
                raise RuntimeError(f"{kind} {name}: the change is not in the traffic after 30 s")
        return accepted, time.monotonic() - started

    def row(self):
        gateway = Gateway(self.program, self.kubeconfig)
        last = "moving.example.com" if self.rules == 2 else f"filler-{self.rules - 1}.example.com"
        gateway.wait(lambda: gateway.ask(last if self.endpoints == 2 else "large-0.example.com") is not None, last)
        # Statuses of new objects are written meanwhile, 20 a second; they are not what is measured.
        ruled, moved, before = [], [], gateway.cpu()
        for _ in range(self.changes):
            self.turn += 1
            host = f"change-{self.turn}.example.com"
            patch = {"spec": {"hostNames": [host]}}
            ruled.append(self.change(gateway, "RoutingRule", "change", patch, lambda host=host: gateway.ask(host) is not None))
        cpu = (gateway.cpu() - before) / self.changes
        for at in range(self.changes):
            port, name = self.ports[(at + 1) % 2], (b"b", b"a")[at % 2]
            patch = {"ports": [{"name": "http", "port": port}]}
            moved.append(self.change(gateway, "EndpointSlice", "moving-1", patch, lambda name=name: gateway.ask("moving.example.com") == name))
        self.api.patch("EndpointSlice", "moving-1", {"ports": [{"name": "http", "port": self.ports[0]}]})
        memory = gateway.memory()
        gateway.stop()
        print(f"| {self.rules:,} | {self.endpoints:,} | {quantiles([t for _, t in ruled])} | {quantiles([a for a, _ in ruled])} | "
              f"{quantiles([t for _, t in moved])} | {cpu * 1000:.0f} | {memory:.0f} | {gateway.start:.1f} |", flush=True)


def main(kubeconfig, program, rules, endpoint_count, changes):
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{version}, {datetime.date.today()}, Linux {platform.release()}, {os.cpu_count()} cores, which API server, etcd and clients share.\n")
    print("| rules | endpoints | rule to traffic, p50 / p99 ms | API's answer | endpoint to traffic | CPU a change, ms | memory, MB | start, s |")
    print("|---|---|---|---|---|---|---|---|")
    bench = Bench(kubeconfig, program, int(changes))
    try:
        for count in rules.split():
            bench.fill(int(count))
            bench.row()
        if int(endpoint_count):
            bench.fill_endpoints(int(endpoint_count))
            bench.row()
    finally:
        bench.backend.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Faults that must fire exactly their alert, and every query, against the built binary and a real Prometheus. See run.sh."""

import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import documents
import queries
from backend import Backend
from client import Traffic, WebSocket, ask, fail_handshake, send_raw
from manifests import GATEWAY, NAMED, rule, service
from stack import ROOT, Gateway, Prometheus, eventually, free_port


class Test:
    def __init__(self, folder, write):
        self.write = write
        self.backend, self.pool = Backend(), [Backend(), Backend()]
        self.gateway = Gateway(folder)
        # Lives for five days and has just begun, as those that are renewed every few days: nothing to be alarmed at.
        self.gateway.certificate("cert", age=0, left=5)
        self.gateway.write("gateway", GATEWAY.format(http=self.gateway.http, https=self.gateway.https, backend=self.backend.port))
        objects = [service("app", self.backend.port), rule("app"), service("pool", *(one.port for one in self.pool)), rule("pool"),
                   rule("idle", "app", "impatient"), NAMED.format()]
        self.gateway.write("objects", "---".join(objects))
        self.gateway.start()
        try:
            self.prometheus = Prometheus(folder, self.gateway.admin)
        except BaseException:
            self.gateway.process.stop()
            raise
        self.fired = set()

    def stop(self):
        self.prometheus.process.stop()
        self.gateway.process.stop()

    def query(self, expression):
        return self.prometheus.query(expression)

    # Faults: each is made, fires its alert and no other, is mended, and the alert resolves.

    def faults(self):
        traffic = Traffic(self.gateway.http, self.gateway.https, "app.example")
        eventually("traffic in the metrics", lambda: (self.query("rate(penstock_requests_total[5s]) > 1") or None, "nothing"))
        self.fault("PenstockPoolDown", lambda: self.health(False), lambda: self.health(True))
        self.fault("PenstockServerErrors", lambda: setattr(traffic, "failing", "/status/500"), lambda: setattr(traffic, "failing", None))
        self.fault("PenstockCertificateExpiresSoon", lambda: self.gateway.certificate("cert", age=85, left=5),
                   lambda: self.gateway.certificate("cert", age=0, left=90))
        self.fault("PenstockConfigurationProblems", lambda: self.gateway.write("broken", rule("broken", "nobody")),
                   lambda: self.gateway.remove("broken"))
        idle = Idle(self.gateway.http)
        self.fault("PenstockWebSocketsIdle", idle.start, idle.stop)
        traffic.stop()

    def fault(self, alert, make, mend):
        eventually(f"silence before {alert}", lambda: (not self.prometheus.firing() or None, self.prometheus.firing()))
        start = time.time()
        make()
        eventually(f"{alert} fires", lambda: (self.prometheus.firing() == {alert} or None, self.prometheus.firing()))
        fired = time.time()
        mend()
        eventually(f"{alert} resolves", lambda: (not self.prometheus.firing() or None, self.prometheus.firing()))
        assert self.prometheus.fired_since(start) == {alert}, f"others than {alert}: {self.prometheus.fired_since(start)}"
        self.fired.add(alert)
        print(f"{alert}: fires after {fired - start:.1f} s, resolves after {time.time() - fired:.1f} s, nothing else fires")

    def health(self, healthy):
        for backend in self.pool:
            backend.healthy = healthy

    # Queries: all kinds of traffic and faults at once, then each has to have a sample.

    def everything(self):
        """Makes what the metrics tell apart, again and again, so that rates have something to grow by."""
        dead = free_port()
        self.gateway.write("more", "---".join([
            service("dead", dead, self.backend.port), rule("dead", settings="unprobed"), service("limited", self.backend.port),
            rule("limited", settings="limited"), rule("broken", "nobody")]))
        self.pool[0].healthy = False
        http, https = self.gateway.http, self.gateway.https
        eventually("the new rules", lambda: (ask(http, "limited.example") == 200 or None, "another answer"))
        open_socket = WebSocket(http, "app.example")
        assert open_socket.send(1, b"hello") == b"hello"
        stopped = threading.Event()

        def make():
            while not stopped.is_set():
                ask(http, "app.example", method="POST", body=b"body")
                ask(http, "app.example", "/status/503")
                ask(http, "broken.example")
                ask(http, "nobody.example")
                ask(https, "app.example", tls="app.example")
                for _ in range(8):
                    ask(http, "dead.example")
                crowd = [threading.Thread(target=ask, args=(http, "limited.example", "/slow")) for _ in range(3)]
                [one.start() for one in crowd]
                [one.join() for one in crowd]
                send_raw(http, b"GET / HTTP/1.1\r\n\r\n")
                fail_handshake(https)
                socket = WebSocket(http, "app.example")
                socket.send(1, b"hello")
                socket.close()
                WebSocket(http, "idle.example").wait_closed()

        maker = threading.Thread(target=make, daemon=True)
        maker.start()
        try:
            yield
        finally:
            stopped.set()
            maker.join(20)
            open_socket.close()

    def check_queries(self):
        asked = 0
        for where, query in queries.of_dashboard():
            if any(name in query for name in documents.CLUSTER_ONLY):
                self.query(query)  # It parses; nobody is elected outside of a cluster.
                continue
            eventually(f"a sample of panel {where}: {query}", lambda query=query: (self.query(query) or None, "nothing"))
            asked += 1
        print(f"dashboard: {asked} queries have samples")
        rules = queries.rules()
        for one in rules:
            self.query(one["expr"])
            for selector in queries.selectors(one["expr"]):
                if not selector.startswith(tuple(documents.CLUSTER_ONLY)):
                    eventually(f"a sample of {selector}, in {one['alert']}",
                               lambda selector=selector: (self.query(f"count({selector})") or None, "nothing"))
        print(f"rules: {len(rules)} parse, and name metrics and labels that exist")
        # The operator gives every series a label `endpoint` of its own; ours has to win.
        assert self.query('penstock_backend_up{endpoint=~"127.0.0.1:.+"}'), self.query("penstock_backend_up")
        unit_tests = "".join(file.read_text() for file in (ROOT / "deploy/alerts/tests").glob("*.yaml"))
        untested = {one["alert"] for one in rules if f'alertname="{one["alert"]}"' not in unit_tests} - self.fired
        assert not untested, f"alerts without a test that fires them: {untested}"
        documents.check_alerts(rules)
        metrics = self.gateway.metrics()
        documents.check_metrics(metrics, self.write)
        lint = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True, check=False)
        assert lint.returncode == 0 and not lint.stdout + lint.stderr, f"promtool check metrics: {lint.stdout}{lint.stderr}"
        print("metrics: the linter finds nothing, the reference has every name, type and label, docs/operations.md every reason")


class Idle:
    """WebSockets on which nothing happens, opened again and again."""

    def __init__(self, port):
        self.port, self.stopped = port, threading.Event()

    def start(self):
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(4)]
        [thread.start() for thread in self.threads]

    def run(self):
        while not self.stopped.is_set():
            WebSocket(self.port, "idle.example").wait_closed()

    def stop(self):
        self.stopped.set()
        [thread.join(10) for thread in self.threads]


def main():
    # Whoever ends this ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("observability: ended by SIGTERM"))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        test = Test(pathlib.Path(folder), write=sys.argv[1:] == ["--write"])
        try:
            print("== faults and their alerts")
            test.faults()
            print("== every query, with everything going on")
            for _ in test.everything():
                test.check_queries()
        except BaseException:
            print(test.gateway.process.log.read_text()[-4000:], test.prometheus.process.log.read_text()[-4000:], sep="\n")
            raise
        finally:
            test.stop()
    print(f"observability: passed in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes penstock.json, the Grafana dashboard: rows of panels, placed and numbered, each with the same variables in its queries.

`--check`: changes nothing, fails when the file differs. tests/observability asks a Prometheus every query.
"""

import json
import pathlib
import sys

FILE = pathlib.Path(__file__).parent / "penstock.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Which series a panel is about: of a process, of a rule, of a listener, of a pool.
PROCESS = 'job=~"$job", instance=~"$instance"'
LISTENER = f'{PROCESS}, gateway=~"$gateway", listener=~"$listener"'
RULE = f'{LISTENER}, rule=~"$rule"'
POOL = f'{PROCESS}, pool=~"$pool"'
SERVER_ERROR = 'code=~"5.."'


def total(metric, labels, by="", more=""):
    """Sum of a metric as it is now."""
    return f"sum{by and f' by ({by}) '}(penstock_{metric}{{{labels}{more and f', {more}'}}})"


def rate(metric, labels, by="", more=""):
    """How much a counter grows in a second."""
    return f"sum{by and f' by ({by}) '}(rate(penstock_{metric}{{{labels}{more and f', {more}'}}}[$__rate_interval]))"


def share(part, whole):
    # An empty part is none: there is no series before the first.
    return f"({part} or vector(0)) / {whole}"


def quantile(q, metric, labels, by=""):
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket', labels, f'{by}, le' if by else 'le')})"


def quantiles(metric, labels):
    return [(quantile(q, metric, labels), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)]


def of_penstock(series):
    """Of series that every process has, those of Penstock."""
    return f"{series} and on (job, instance) penstock_build_info"


# A row: its title and panels. A panel: kind, width of 24, title, what it says, unit, and queries with their legends.
ROWS = [
    ("Overview", [
        ("stat", 4, "Requests", "Answers a second.", "reqps", [(rate("requests_total", RULE), "")]),
        ("stat", 4, "Server errors", "Share of the answers that are 5xx.", "percentunit",
         [(share(rate("requests_total", RULE, more=SERVER_ERROR), rate("requests_total", RULE)), "")]),
        ("stat", 4, "Requests, p99", "From the request head to the end of the answer.", "s",
         [(quantile(0.99, "request_duration_seconds", LISTENER), "")]),
        ("stat", 4, "WebSockets", "Open now.", "short", [(total("websocket_open", RULE), "")]),
        ("stat", 4, "Endpoints down", "Whose probes fail, or whose requests did.", "short",
         [(f"count(min by (pool, settings, endpoint) (penstock_backend_up{{{POOL}}}) == 0) or vector(0)", "")]),
        ("stat", 4, "Alerts", "Of Penstock, firing now.", "short",
         [('count(ALERTS{alertname=~"Penstock.+", alertstate="firing"}) or vector(0)', "")]),
    ]),
    ("Traffic", [
        ("timeseries", 8, "Answers by code", "101 is a WebSocket; 499 is a client that went away.", "reqps",
         [(rate("requests_total", RULE, "code"), "{{code}}")]),
        ("timeseries", 8, "Answers by rule", "The ten busiest. none: no rule took the request.", "reqps",
         [(f"topk(10, {rate('requests_total', RULE, 'rule')})", "{{rule}}")]),
        ("timeseries", 8, "Server errors by rule", "Share of the rule's answers that are 5xx.", "percentunit",
         [(f"{rate('requests_total', RULE, 'rule', SERVER_ERROR)} / {rate('requests_total', RULE, 'rule')}", "{{rule}}")]),
        ("timeseries", 8, "Bytes of bodies", "received: from clients, sent: to them.", "Bps",
         [(rate("request_bytes_total", RULE, "direction"), "{{direction}}")]),
        ("timeseries", 8, "Answers by method", "other: none of RFC 9110 or PATCH.", "reqps",
         [(rate("requests_total", RULE, "method"), "{{method}}")]),
        ("timeseries", 8, "Refused", "Requests and connections that were refused before they were routed, by reason.", "reqps",
         [(rate("refused_total", f'{PROCESS}, listener=~"$listener|none"', "reason"), "{{reason}}")]),
    ]),
    ("Latency", [
        ("timeseries", 8, "Requests", "From the request head to the end of the answer.", "s", quantiles("request_duration_seconds", LISTENER)),
        ("timeseries", 8, "Backends", "From the choice of a backend to its response head.", "s", quantiles("backend_duration_seconds", POOL)),
        ("timeseries", 8, "Backends by pool, p99", "The ten slowest.", "s",
         [(f"topk(10, {quantile(0.99, 'backend_duration_seconds', POOL, 'pool')})", "{{pool}}")]),
    ]),
    ("WebSockets", [
        ("timeseries", 8, "Open", "Now, by rule.", "short", [(total("websocket_open", RULE, "rule"), "{{rule}}")]),
        ("timeseries", 8, "Opened and closed", "A second. What closed them: client, backend, idle (raise webSocket.idleTimeout), duration, drain, error.",
         "cps", [(rate("websocket_opened_total", RULE), "opened"), (rate("websocket_closed_total", RULE, "reason"), "closed: {{reason}}")]),
        ("timeseries", 8, "Bytes", "Added when a WebSocket ends, all at once.", "Bps",
         [(rate("websocket_bytes_total", RULE, "direction"), "{{direction}}")]),
        ("timeseries", 12, "How long they were open", "Of those that ended.", "s", quantiles("websocket_duration_seconds", LISTENER)),
        ("timeseries", 12, "Open by replica", "Replicas differ after a rollout, until clients have come back.", "short",
         [(total("websocket_open", RULE, "instance"), "{{instance}}")]),
    ]),
    ("Backends", [
        ("timeseries", 8, "Healthy endpoints", "Share of each pool, over all replicas.", "percentunit",
         [(f"avg by (pool, settings) (penstock_backend_up{{{POOL}}})", "{{pool}} {{settings}}")]),
        ("timeseries", 8, "Failed attempts", "By reason; a retry may have hidden them from clients.", "reqps",
         [(rate("backend_errors_total", POOL, "pool, reason"), "{{pool}} {{reason}}")]),
        ("timeseries", 8, "Ejections", "Endpoints taken out because their requests failed.", "short",
         [(f"sum by (pool) (increase(penstock_backend_ejections_total{{{POOL}}}[$__rate_interval]))", "{{pool}}")]),
        ("timeseries", 8, "Connections to endpoints", "Idle ones and WebSockets included. The ten endpoints with most.", "short",
         [(f"topk(10, {total('backend_connections', POOL, 'pool, endpoint')})", "{{pool}} {{endpoint}}")]),
        ("timeseries", 8, "Waiting requests", "For a backend that has all the connections it may have (limits.maxConnections).", "short",
         [(total("backend_pending", POOL, "pool, settings"), "{{pool}} {{settings}}")]),
        ("timeseries", 8, "Probes", "A second, by result; and how long nine of ten take at most.", "short",
         [(rate("probes_total", POOL, "result"), "{{result}}"), (quantile(0.9, "probe_duration_seconds", POOL), "p90, in seconds")]),
        ("table", 24, "Endpoints that are down", "At one replica at least. `penstock status` says why.", "short",
         [(f"min by (pool, settings, endpoint) (penstock_backend_up{{{POOL}}}) == 0", "")]),
    ]),
    ("Connections", [
        ("timeseries", 8, "Open", "Client connections now. Listeners that share a port count as the first of them.", "short",
         [(total("connections_open", LISTENER, "gateway, listener"), "{{gateway}} {{listener}}")]),
        ("timeseries", 8, "Accepted", "A second.", "cps", [(rate("connections_total", LISTENER, "gateway, listener"), "{{gateway}} {{listener}}")]),
        ("timeseries", 8, "Open files", "At 90 % accepting pauses.", "percentunit",
         [(of_penstock(f"process_open_fds{{{PROCESS}}} / process_max_fds{{{PROCESS}}}"), "{{instance}}")]),
    ]),
    ("Configuration and certificates", [
        ("timeseries", 8, "Problems", "Parts of objects that have no effect. `penstock status` lists them.", "short",
         [(f"max by (kind, reason) (penstock_config_problems{{{PROCESS}}})", "{{kind}} {{reason}}")]),
        ("timeseries", 8, "Changes", "Configurations published in five minutes, by replica.", "short",
         [(f"changes(penstock_config_generation{{{PROCESS}}}[5m])", "{{instance}}")]),
        ("timeseries", 8, "Time to traffic, p99", "From a configuration to the traffic, by stage.", "s",
         [(quantile(0.99, "config_apply_seconds", PROCESS, "stage"), "{{stage}}")]),
        ("table", 16, "Certificates", "Time that is left, shortest first.", "s",
         [(f"sort(min by (secret, gateway, listener) (penstock_certificate_expiry_timestamp_seconds{{{LISTENER}}}) - time())", "")]),
        ("timeseries", 8, "Leader", "The replica that writes statuses; nobody is elected outside of a cluster.", "short",
         [(f"penstock_leader{{{PROCESS}}}", "{{instance}}")]),
    ]),
    ("Process", [
        ("timeseries", 6, "CPU", "Cores in use.", "short", [(of_penstock(f"rate(process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval])"), "{{instance}}")]),
        ("timeseries", 6, "Memory", "Resident.", "bytes", [(of_penstock(f"process_resident_memory_bytes{{{PROCESS}}}"), "{{instance}}")]),
        ("timeseries", 6, "Lost lines and spans", "Of the access log: nobody reads them fast enough. Of traces: the queue is full, or the collector is away.", "short",
         [(rate("access_log_lost_total", PROCESS, "instance"), "lines {{instance}}"),
          (rate("traces_dropped_total", PROCESS, "instance, reason"), "spans {{instance}} {{reason}}")]),
        ("table", 6, "Versions", "And since when each replica runs.", "dateTimeFromNow",
         [(f"1000 * process_start_time_seconds{{{PROCESS}}} * on (job, instance) group_left (version) penstock_build_info", "")]),
    ]),
]


def panel(number, kind, width, title, description, unit, queries, x, y):
    height = {"stat": 4, "timeseries": 8, "table": 8}[kind]
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend or "__auto",
         **({"instant": True, "range": False, "format": "table"} if kind == "table" else {})}
        for i, (expr, legend) in enumerate(queries)]
    made = {"id": number, "type": kind, "title": title, "description": description, "datasource": SOURCE, "targets": targets,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0} if kind == "timeseries" else {"unit": unit}, "overrides": []}}
    if kind == "timeseries":
        made["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
        made["fieldConfig"]["defaults"]["custom"] = {"fillOpacity": 10, "showPoints": "never"}
    elif kind == "table":
        # What is left is what the query sums by.
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]
    return made


def panels():
    made, y = [], 0
    for title, row in ROWS:
        made.append({"id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                     "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x, height = y + 1, 0, 0
        for kind, width, *rest in row:
            if x + width > 24:
                x, y = 0, y + height
            made.append(panel(len(made) + 1, kind, width, *rest, x, y))
            x, height = x + width, made[-1]["gridPos"]["h"]
        y += height
    return made


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
            "definition": query, "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]}}


DASHBOARD = {
    "uid": "penstock", "title": "Penstock", "tags": ["penstock", "ingress"], "schemaVersion": 41, "editable": True,
    "time": {"from": "now-1h", "to": "now"}, "refresh": "30s", "timezone": "browser", "graphTooltip": 1,
    "annotations": {"list": []}, "links": [],
    "templating": {"list": [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}, "refresh": 1},
        variable("job", "Installation", "label_values(penstock_build_info, job)"),
        variable("instance", "Replica", f"label_values(penstock_build_info{{job=~\"$job\"}}, instance)"),
        variable("gateway", "Gateway", f"label_values(penstock_connections_total{{{PROCESS}}}, gateway)"),
        variable("listener", "Listener", f"label_values(penstock_connections_total{{{PROCESS}, gateway=~\"$gateway\"}}, listener)"),
        variable("rule", "Rule", f"label_values(penstock_requests_total{{{LISTENER}}}, rule)"),
        variable("pool", "Pool", f"label_values(penstock_backend_up{{{PROCESS}}}, pool)"),
    ]},
    "panels": panels(),
}


def main():
    text = json.dumps(DASHBOARD, indent=1) + "\n"
    if sys.argv[1:] == ["--check"]:
        if not FILE.exists() or FILE.read_text() != text:
            sys.exit(f"{FILE.name} differs from generate.py: run deploy/dashboards/generate.py and commit the result")
    elif sys.argv[1:]:
        sys.exit("usage: generate.py [--check]")
    else:
        FILE.write_text(text)


if __name__ == "__main__":
    main()

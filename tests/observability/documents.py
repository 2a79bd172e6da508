"""What docs/operations.md says, beside what there is."""

import re

from stack import ROOT

PAGE = (ROOT / "docs/operations.md").read_text()
# Nobody is elected outside of a cluster.
CLUSTER_ONLY = {"penstock_leader"}


def check_metrics(metrics):
    """Names and labels in the table are those of /metrics, once everything has happened that makes a series."""
    documented = {name: set(re.findall(r"\w+", labels)) for name, labels in re.findall(r"^\| `((?:penstock|process)_\w+)` \| ([^|]*) \|", PAGE, re.M)}
    found = {}
    for name in re.findall(r"^# TYPE (\w+)", metrics, re.M):
        series = re.findall(rf"^{name}(?:_bucket)?(?:\{{(.*)\}})? ", metrics, re.M)
        found[name] = {label for labels in series for label in re.findall(r'(\w+)="', labels) if label != "le"}
    assert documented.keys() - found.keys() == CLUSTER_ONLY, f"not in /metrics: {documented.keys() - found.keys()}"
    assert not found.keys() - documented.keys(), f"not in docs/operations.md: {found.keys() - documented.keys()}"
    for name, labels in found.items():
        assert documented[name] == labels, f"labels of {name}: {sorted(labels)}, documented: {sorted(documented[name])}"
    for reason in set(re.findall(r'^penstock_(?:refused|backend_errors|websocket_closed)_total\{.*reason="(\w+)"', metrics, re.M)):
        assert f"`{reason}`" in PAGE, f"reason {reason} is not in docs/operations.md"


def check_alerts(rules):
    """Each alert has a section, and its runbook_url leads there."""
    sections = set(re.findall(r"^### (Penstock\w+)$", PAGE, re.M))
    names = {rule["alert"] for rule in rules}
    assert sections == names, f"without a section: {names - sections}; without an alert: {sections - names}"
    for rule in rules:
        assert rule["annotations"]["runbook_url"].endswith(f"docs/operations.md#{rule['alert'].lower()}"), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert {"summary", "description"} < rule["annotations"].keys(), rule["alert"]

"""What docs/operations.md says, beside what there is."""

import re

from stack import ROOT

PAGE = (ROOT / "docs/operations.md").read_text()
REFERENCE = ROOT / "docs/reference/metrics.md"
# Nobody is elected outside of a cluster: what nobody serves here, with its labels.
CLUSTER_ONLY = {"penstock_leader": ("gauge", "1: this replica writes statuses; only in a cluster, elsewhere nobody is elected.", set())}
HEAD = """# Metrics

<!-- Written by tests/observability from what the built binary serves: make observability WRITE=yes. Do not edit. -->

What the reasons mean, and what to do about alerts, is in [operations](../operations.md#metrics).

| metric | type | labels | what |
|---|---|---|---|
"""


def families(metrics):
    """Type, help and labels of each family, once everything has happened that makes a series."""
    helps = dict(re.findall(r"^# HELP (\w+) (.*)$", metrics, re.M))
    found = dict(CLUSTER_ONLY)
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", metrics, re.M):
        series = re.findall(rf"^{name}(?:_bucket)?(?:\{{(.*)\}})? ", metrics, re.M)
        found[name] = kind, helps[name], {label for labels in series for label in re.findall(r'(\w+)="', labels) if label != "le"}
    return found


def check_metrics(metrics, write):
    """The reference has every family as it is, and this page every reason."""
    rows = [f"| `{name}` | {kind} | {', '.join(sorted(labels))} | {text} |" for name, (kind, text, labels) in sorted(families(metrics).items())]
    page = HEAD + "\n".join(rows) + "\n"
    if write:
        REFERENCE.write_text(page)
    written = REFERENCE.read_text() if REFERENCE.exists() else ""
    different = set(page.splitlines()) ^ set(written.splitlines())
    assert not different, "docs/reference/metrics.md differs from what is served (make observability WRITE=yes):\n" + "\n".join(sorted(different))
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

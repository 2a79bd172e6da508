"""The queries of the dashboard and of the rules, and the series that they name."""

import json
import re

import yaml

from stack import ROOT, RULES

DASHBOARD = ROOT / "deploy/dashboards/penstock.json"
VARIABLES = {"$__rate_interval": "5s", "$job": ".*", "$instance": ".*", "$gateway": ".*", "$listener": ".*", "$rule": ".*", "$pool": ".*"}


def filled(query):
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query, f"a variable that this test does not know: {query}"
    return query


def of_dashboard():
    """(panel, query) for each; variables of the templating, too, as the selector that they list labels of."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} ({target['refId']})", filled(target["expr"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
            yield f"variable {variable['name']}", filled(f"count by ({label}) ({selector})")


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def selectors(query):
    """The selectors of a query, each with its labels only asked to be there: whether what it is about exists at all."""
    for name, labels in re.findall(r"\b((?:penstock|process)_\w+)(\{[^}]*\})?", query):
        yield name + re.sub(r"(=~|!~|!=|=)\"[^\"]*\"", '!=""', labels)

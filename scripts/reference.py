#!/usr/bin/env python3
"""Writes docs/reference/ from the code: every flag, field and reason. `--check` changes nothing and fails when a page differs.

    scripts/reference.py [--check] PENSTOCK     (the built binary; needs PyYAML)

metrics.md there is written, and held against what is served, by `make observability`.
"""

import difflib
import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs/reference"
NOTE = "<!-- Written by scripts/reference.py from {source}: make reference. Do not edit. -->\n"


def help_of(program, *command):
    """What `--help` says, as wide as the page."""
    done = subprocess.run([program, *command, "--help"], capture_output=True, text=True, check=True,
                          env={"COLUMNS": "120", "PATH": "/usr/bin:/bin"})
    return done.stdout.rstrip()


def command_line(program):
    text = help_of(program)
    commands = re.findall(r"^  ([a-z-]+) +\S", text.split("Commands:")[1].split("Options:")[0], re.M)
    page = ["# Command line\n", NOTE.format(source="the definitions of the command line"),
            "`penstock man --dir DIR` writes the same as manual pages, `penstock completion SHELL` completes it.\n",
            f"```\n{text}\n```\n"]
    for command in commands:
        if command != "help":
            page.append(f"## penstock {command}\n\n```\n{help_of(program, command)}\n```\n")
    return "\n".join(page)


def cell(text):
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;")


def code(value):
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, (dict, list)):
        value = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return f"`{cell(value)}`"


def kind(schema):
    """The type of a field and what bounds it."""
    if schema.get("x-kubernetes-int-or-string"):
        name = "integer or string"
    elif schema["type"] == "array":
        name = f"list of {kind(schema['items'])}"
    elif schema["type"] == "object" and isinstance(schema.get("additionalProperties"), dict):
        name = f"map to {kind(schema['additionalProperties'])}"
    else:
        name = schema["type"]
    if "enum" in schema:
        return " or ".join(code(value) for value in schema["enum"] if value is not None)
    least = next((schema[key] for key in ("minimum", "minLength", "minItems") if key in schema), None)
    most = next((schema[key] for key in ("maximum", "maxLength", "maxItems", "maxProperties") if key in schema), None)
    unit = {"string": " characters", "array": " entries"}.get(schema.get("type"), "")
    if most is not None:
        return f"{name}, {least if least is not None else 0} to {most}{unit}"
    return f"{name}, at least {least}{unit}" if least else name


def objects(schema, path):
    """Every object in a schema with its path, itself first."""
    if schema.get("type") == "array":
        yield from objects(schema["items"], f"{path}[]")
    elif "properties" in schema:
        yield path, schema
        for name, child in schema["properties"].items():
            yield from objects(child, f"{path}.{name}")


def resource(file):
    definition = yaml.safe_load(file.read_text())
    version, names = definition["spec"]["versions"][0], definition["spec"]["names"]
    schema = version["schema"]["openAPIV3Schema"]
    page = [f"# {names['kind']}\n", NOTE.format(source=f"crds/{file.name}"),
            f"`apiVersion: {definition['spec']['group']}/{version['name']}`, `kind: {names['kind']}`; "
            f"`kubectl get {names['plural']}`, short {', '.join(code(name) for name in names['shortNames'])}. {schema['description']}\n",
            "Fields in **bold** are required.\n"]
    for part in ("spec", "status"):
        for path, found in objects(schema["properties"][part], part):
            page.append(f"## {path}\n\n{cell(found.get('description', ''))}\n")
            page.append("| field | type | default | meaning |\n|---|---|---|---|")
            for name, field in found["properties"].items():
                shown = f"**`{name}`**" if name in found.get("required", ()) else f"`{name}`"
                default = code(field["default"]) if "default" in field else ""
                page.append(f"| {shown} | {kind(field)} | {default} | {cell(field.get('description', ''))} |")
            rules = [rule["message"] for rule in found.get("x-kubernetes-validations", ()) if "message" in rule]
            page.append("\nRefused otherwise: " + "; ".join(cell(rule) for rule in rules) + ".\n" if rules else "")
    return "\n".join(page).rstrip() + "\n"


def reasons(file):
    text = file.read_text()
    page = ["# Reasons in conditions and Events\n", NOTE.format(source="crates/api/src/reasons.rs"),
            "Conditions have the types `Accepted`, `ResolvedRefs` and `Programmed`, with the meaning of Gateway API. The message beside a reason names the field, its value "
            "and the remedy.\n"]
    for doc, body in re.findall(r"^reasons! \{\n\s*/// ([^\n]*)\n\s*\w+ \{\n(.*?)^    \}", text, re.M | re.S):
        page.append(f"## {doc.rstrip('.')}\n\n| reason | meaning |\n|---|---|")
        rows = re.findall(r"((?:^\s*/// .*\n)+)\s*(\w+),", body, re.M)
        assert len(rows) == len(re.findall(r"^\s*\w+,$", body, re.M)), f"a reason without a description in {doc}"
        for lines, name in rows:
            page.append(f"| `{name}` | {cell(' '.join(line.strip(' /') for line in lines.splitlines()))} |")
        page.append("")
    return "\n".join(page)


def main(args):
    check = "--check" in args
    (program,) = [arg for arg in args if arg != "--check"]
    pages = {
        "command-line.md": command_line(program),
        "application-gateway.md": resource(ROOT / "crds/applicationgateways.yaml"),
        "routing-rule.md": resource(ROOT / "crds/routingrules.yaml"),
        "reasons.md": reasons(ROOT / "crates/api/src/reasons.rs"),
    }
    stale = False
    for name, text in pages.items():
        path = PAGES / name
        if not check:
            PAGES.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        before = path.read_text() if path.exists() else ""
        if before != text:
            stale = True
            sys.stderr.writelines(difflib.unified_diff(before.splitlines(True), text.splitlines(True), str(path.relative_to(ROOT)), "from the code", n=1))
    if stale:
        sys.exit("docs/reference differs from the code: run make reference and commit the result")


if __name__ == "__main__":
    main(sys.argv[1:])

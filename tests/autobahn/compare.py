"""Compares the verdicts through the gateway with those on the backend: compare.py FOLDER METRICS

FOLDER has the reports of the suite in direct/, http/ and https/. Prints a table by group and every difference, and fails when there is
one, when the backend fails a case, or when METRICS say that the gateway had not a WebSocket for every case.
"""

import collections
import json
import pathlib
import sys
import urllib.request

GROUPS = {
    1: "framing", 2: "pings and pongs", 3: "reserved bits", 4: "opcodes", 5: "fragmentation", 6: "UTF-8", 7: "closing",
    9: "big messages", 10: "fragments by the client", 12: "permessage-deflate, payloads", 13: "permessage-deflate, parameters",
}
COMPARED = ("behavior", "behaviorClose", "remoteCloseCode")
PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")


def order(case):
    return [int(part) for part in case.split(".")]


def read(folder):
    return json.loads((folder / "index.json").read_text())["server"]


def websockets(url):
    """WebSockets that the gateway has opened."""
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("penstock_websocket_opened_total"))


def main(folder, metrics):
    direct = read(folder / "direct")
    ways = {way: read(folder / way) for way in ("http", "https")}
    wrong = []
    different = collections.Counter()
    for case in sorted(direct, key=order):
        verdict = tuple(direct[case][name] for name in COMPARED)
        if direct[case]["behavior"] not in PASSED or direct[case]["behaviorClose"] not in PASSED:
            wrong.append(f"{case}: the backend itself does not pass: {verdict}")
        for way, verdicts in ways.items():
            through = tuple(verdicts[case][name] for name in COMPARED) if case in verdicts else "not run"
            if through != verdict:
                different[way, order(case)[0]] += 1
                wrong.append(f"{case}: directly {verdict}, over {way} {through}; see {way}/server_case_{case.replace('.', '_')}.json")
    cases = collections.Counter(order(case)[0] for case in direct)
    print(f"{'group':36}{'cases':>7}{'same':>7}{'different: http':>17}{'https':>7}")
    for group, count in sorted(cases.items()):
        http, https = different["http", group], different["https", group]
        same = count * 2 - http - https
        print(f"{group:>2} {GROUPS.get(group, ''):33}{count:7}{same:7}{http:17}{https:7}")
    print("\n".join(wrong))
    opened = websockets(metrics)
    if opened != 2 * len(direct):
        wrong.append("opened")
        print(f"the gateway opened {opened:.0f} WebSockets for twice {len(direct)} cases")
    print(f"autobahn: {len(direct)} cases over HTTP and HTTPS: {2 * len(direct)} verdicts, {sum(different.values())} different")
    return 1 if wrong or not direct else 0


sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))

"""Runs the fuzzing client of the suite against one server: fuzz.py URL OUTDIR MESSAGES EXCLUDED-CASE...

The cases with permessage-deflate (12 and 13) send MESSAGES messages each. The verdicts are in OUTDIR/index.json, what was on the wire in
a file for each case.
"""

import sys

from autobahntestsuite import fuzzing
from autobahntestsuite.case import Cases
from twisted.internet import reactor


def raw(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value


class Client(fuzzing.FuzzingClientProtocol):
    """Between the cases, for which bytes are strings as in Python 2, and autobahn."""

    def sendFrame(self, opcode, payload=b"", fin=True, rsv=0, mask=None, payload_len=None, **how):
        payload = raw(payload)
        if payload_len is not None:
            # As autobahn would; in this version it cannot under Python 3.
            payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
        super().sendFrame(opcode, payload, fin, rsv, mask, **how)

    def sendMessage(self, payload, *how, **more):
        super().sendMessage(raw(payload), *how, **more)

    def sendMessageFrameData(self, payload, *how, **more):
        return super().sendMessageFrameData(raw(payload), *how, **more)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, raw(reasonUtf8), isReply)

    def onMessage(self, payload, isBinary):
        super().onMessage(text(payload), isBinary)

    def onPong(self, payload):
        super().onPong(text(payload))

    def logRxFrame(self, header, payload):
        super().logRxFrame(header, map(text, payload))

    def logTxFrame(self, header, payload, *how):
        super().logTxFrame(header, text(payload), *how)


class Factory(fuzzing.FuzzingClientFactory):
    """With reports in JSON only."""

    failed = False

    def logCase(self, results):
        super().logCase({name: text(value) for name, value in results.items()})

    def createReports(self):
        super().createReports(produceHtml=False)

    def clientConnectionFailed(self, connector, reason):
        # The suite would go on without a word.
        print(f"autobahn: case {self.currentCaseId}: no connection: {reason.getErrorMessage()}", file=sys.stderr)
        self.failed = True
        reactor.stop()


def main(url, outdir, messages, *excluded):
    for case in Cases:
        if case.__name__.startswith(("Case12_", "Case13_")):
            case.COUNT = int(messages)
    fuzzing.FuzzingClientProtocol = Client
    factory = Factory({
        "outdir": outdir,
        "servers": [{"agent": "server", "url": url}],
        "cases": ["*"],
        "exclude-cases": list(excluded),
        "exclude-agent-cases": {},
    })
    reactor.run()
    sys.exit(factory.failed)


main(*sys.argv[1:])

"""The backend: an echo of the library autobahn, with permessage-deflate. echo.py PORT

It answers each frame as it parses it, so its verdicts do not depend on how TCP cut the bytes.
"""

import sys

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet import reactor


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        self.sendMessage(payload, isBinary)


def accept(offers):
    return next((PerMessageDeflateOfferAccept(offer) for offer in offers if isinstance(offer, PerMessageDeflateOffer)), None)


factory = WebSocketServerFactory()
factory.protocol = Echo
# Close with a code, as RFC 6455 7.1.7 asks, rather than drop the connection.
factory.setProtocolOptions(failByDrop=False, perMessageCompressionAccept=accept)
reactor.listenTCP(int(sys.argv[1]), factory, interface="127.0.0.1")
reactor.run()

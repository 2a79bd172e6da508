"""The backend: a WebSocket echo over HTTP/1.1 with permessage-deflate, which does as its messages say. backend.py PORT

`close CODE` closes. `/refuse` is refused with 403, and what is no handshake gets 200.
"""

import socket
import sys
import threading

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage
from wsproto.extensions import PerMessageDeflate


def answers(websocket, event, parts):
    """What is sent for an event."""
    if isinstance(event, Request):
        if event.target.startswith("/refuse"):
            return [RejectConnection(status_code=403, headers=[(b"connection", b"close")])]
        return [AcceptConnection(subprotocol=next(iter(event.subprotocols), None), extensions=[PerMessageDeflate()])]
    if isinstance(event, Ping):
        return [event.response()]
    if isinstance(event, CloseConnection):
        # It may be the answer to ours.
        return [event.response()] if websocket.state is ConnectionState.REMOTE_CLOSING else []
    if not isinstance(event, (TextMessage, BytesMessage)):
        return []
    parts.append(event.data)
    if not event.message_finished:
        return []
    whole = parts[0][:0].join(parts)
    parts.clear()
    if isinstance(whole, str) and whole.startswith("close "):
        return [CloseConnection(code=int(whole.split()[1]), reason="as asked")]
    return [TextMessage(data=whole) if isinstance(whole, str) else BytesMessage(data=bytes(whole))]


def serve(stream):
    with stream:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = stream.recv(65536)
            if not piece:
                return
            head += piece
        if b"upgrade: websocket" not in head.lower():
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain")
            return
        websocket, parts = WSConnection(ConnectionType.SERVER), []
        websocket.receive_data(head)
        while True:
            for event in websocket.events():
                for answer in answers(websocket, event, parts):
                    stream.sendall(websocket.send(answer))
                    if isinstance(answer, RejectConnection):
                        return
            piece = stream.recv(65536)
            if not piece:
                return
            websocket.receive_data(piece)


def connection(stream):
    try:
        serve(stream)
    except OSError:
        # The gateway went first.
        pass


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as listener:
    while True:
        threading.Thread(target=connection, args=(listener.accept()[0],), daemon=True).start()

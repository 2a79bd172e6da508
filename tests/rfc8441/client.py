"""The client and what is asked of the gateway: client.py HTTP-PORT HTTPS-PORT CERTIFICATE"""

import collections
import socket
import ssl
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

PATIENCE = 20  # seconds without a byte


class Stream:
    def __init__(self):
        self.headers, self.data, self.ended, self.reset = None, bytearray(), False, None


class Http2:
    """A connection of many streams, on one thread."""

    def __init__(self, stream):
        self.socket = stream
        self.socket.settimeout(PATIENCE)
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.streams = collections.defaultdict(Stream)
        self.settings = False
        self.h2.initiate_connection()
        self.flush()
        self.until(lambda: self.settings)
        assert self.h2.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1, "RFC 8441 3"

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def until(self, condition):
        while not condition():
            data = self.socket.recv(65536)
            assert data, "the gateway closed the connection"
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()

    def take(self, event):
        if isinstance(event, RemoteSettingsChanged):
            self.settings = True
        elif isinstance(event, ResponseReceived):
            self.streams[event.stream_id].headers = dict(event.headers)
        elif isinstance(event, DataReceived):
            self.streams[event.stream_id].data += event.data
            # Of stream and connection, with every piece.
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.streams[event.stream_id].ended = True
        elif isinstance(event, StreamReset):
            self.streams[event.stream_id].reset = event.error_code

    def ask(self, headers, end):
        """Sends a head; the stream's number once the answer's head is there. A reset may stand behind that."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, headers, end_stream=end)
        self.flush()
        stream = self.streams[number]
        self.until(lambda: stream.headers or stream.reset is not None)
        assert stream.headers, f"RST_STREAM {stream.reset}"
        return number

    def send(self, number, data, end=False):
        while data:
            self.until(lambda: self.h2.local_flow_control_window(number) > 0)
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            self.h2.send_data(number, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.h2.end_stream(number)
            self.flush()

    def get(self, path):
        number = self.ask([(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)], True)
        stream = self.streams[number]
        self.until(lambda: stream.ended)
        return stream.headers[":status"], bytes(stream.data)


class WebSocket:
    """A stream of a connection, after its extended CONNECT."""

    def __init__(self, http2, path="/ws", compressed=False):
        self.http2 = http2
        deflate = PerMessageDeflate()
        offer = [("sec-websocket-extensions", f"permessage-deflate; {deflate.offer()}".rstrip("; "))] if compressed else []
        self.number = http2.ask([
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "localhost"), (":path", path),
            ("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat"), *offer], False)
        self.stream = http2.streams[self.number]
        self.status = self.stream.headers[":status"]
        accepted = self.stream.headers.get("sec-websocket-extensions")
        assert bool(accepted) == (compressed and self.status == "200"), accepted
        if accepted:
            deflate.finalize(accepted)
        self.websocket = Connection(ConnectionType.CLIENT, extensions=[deflate] if accepted else [])
        self.waiting = collections.deque()

    def send(self, event, **how):
        self.http2.send(self.number, self.websocket.send(event), **how)

    def next(self):
        """The next event of the backend's."""
        while not self.waiting:
            self.http2.until(lambda: self.stream.data or self.stream.ended or self.stream.reset is not None)
            assert self.stream.data, f"the stream ended: reset {self.stream.reset}"
            self.websocket.receive_data(bytes(self.stream.data))
            self.stream.data.clear()
            self.waiting.extend(self.websocket.events())
        return self.waiting.popleft()

    def message(self):
        parts = []
        while True:
            event = self.next()
            assert isinstance(event, (TextMessage, BytesMessage)), event
            parts.append(event.data)
            if event.message_finished:
                return event.data[:0].join(parts)

    def echo(self, data):
        make = TextMessage if isinstance(data, str) else BytesMessage
        half = len(data) // 2
        self.send(make(data=data[:half], message_finished=False))
        self.send(make(data=data[half:]))
        came = self.message()
        assert came == data, f"{len(data)} were sent, {len(came)} came"

    def closed(self, code):
        event = self.next()
        assert isinstance(event, CloseConnection) and event.code == code, event

    def over(self):
        self.http2.until(lambda: self.stream.ended or self.stream.reset is not None)
        assert self.stream.reset in (None, 0), f"RST_STREAM {self.stream.reset}"


def check(http2):
    sockets = [WebSocket(http2, compressed=number % 2 == 1) for number in range(20)]
    for websocket in sockets:
        assert websocket.status == "200" and websocket.stream.headers["sec-websocket-protocol"] == "chat", "RFC 8441 5"
        assert "sec-websocket-accept" not in websocket.stream.headers, "RFC 8441 5"
    for round in range(3):
        for number, websocket in enumerate(sockets):
            websocket.echo(f"{round} and {number}: ✓")
    for websocket in sockets[:4]:
        websocket.echo("x" * 1_000_000)
        websocket.echo(bytes(range(256)) * 1000)
        websocket.send(Ping(payload=b"there?"))
        event = websocket.next()
        assert isinstance(event, Pong) and event.payload == b"there?", event
    # Each message is acknowledged twice, and none of it is a flood.
    for number in range(1000):
        sockets[0].echo(f"message {number}")
    assert http2.get("/x") == ("200", b"plain")
    assert WebSocket(http2, "/refuse").status == "403"
    # Either side closes; then the stream ends, and the others go on.
    sockets[0].send(CloseConnection(code=1000, reason="bye"))
    sockets[0].closed(1000)
    sockets[0].over()
    sockets[1].send(TextMessage(data="close 4001"))
    sockets[1].closed(4001)
    sockets[1].send(CloseConnection(code=4001), end=True)
    sockets[1].over()
    http2.h2.reset_stream(sockets[2].number, 8)
    http2.flush()
    for websocket in sockets[3:]:
        websocket.echo("still here")


def main(http, https, certificate):
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(["h2"])
    for name, port in (("http", http), ("https", https)):
        with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if name == "https":
                stream = context.wrap_socket(stream, server_hostname="localhost")
                assert stream.selected_alpn_protocol() == "h2"
            check(Http2(stream))
        print(f"rfc8441: {name} passed", flush=True)


main(*sys.argv[1:])

"""Clients of the gateway: requests, WebSockets, TLS, and bytes that are neither."""

import http.client
import os
import socket
import ssl
import struct
import threading


def ask(port, host, path="/", method="GET", body=None, tls=None, headers=None):
    """The status of an answer, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    if tls:
        connection.sock = trusting_nobody().wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname=tls)
    try:
        connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def trusting_nobody():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def fail_handshake(port):
    """A handshake with nothing that a policy of today allows."""
    context = trusting_nobody()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-SHA:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        try:
            context.wrap_socket(plain).close()
        except (ssl.SSLError, ConnectionError):
            return
    raise AssertionError("a handshake with AES256-SHA succeeded")


def send_raw(port, data):
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(data)
        return plain.recv(4096)


class WebSocket:
    def __init__(self, port, host):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.sendall((f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        status = self.file.readline()
        assert b" 101 " in status, status
        while self.file.readline() not in (b"\r\n", b""):
            pass

    def send(self, opcode, payload):
        """A frame, and the one that comes back."""
        mask = os.urandom(4)
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask
                            + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
        head = self.file.read(2)
        return self.file.read(head[1])

    def close(self):
        self.send(8, struct.pack("!H", 1000))
        self.wait_closed()

    def wait_closed(self):
        self.file.read()
        self.file.close()
        self.socket.close()


class Traffic:
    """Requests one after another for as long as it runs; one in three asks for `failing` when that is set."""

    def __init__(self, port, tls_port, host):
        self.failing = None
        self.stopped = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(port, tls_port, host), daemon=True)
        self.thread.start()

    def run(self, port, tls_port, host):
        try:
            count = 0
            # A pace, so that the machine has time for what is tested.
            while not self.stopped.wait(0.05):
                count += 1
                if count % 10 == 0:
                    ask(tls_port, host, tls=host)
                else:
                    ask(port, host, self.failing if self.failing and count % 3 == 0 else "/")
        except Exception as error:  # What it is matters to whoever looks at it, and that it is seen.
            self.error = error

    def stop(self):
        self.stopped.set()
        self.thread.join(10)
        assert self.error is None, f"traffic failed: {self.error!r}"

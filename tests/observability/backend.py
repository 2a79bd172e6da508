"""A backend whose answers are asked for in the path, and whose health is a switch."""

import base64
import hashlib
import http.server
import threading
import time


class Backend:
    """`/status/503`: that status. `/slow`: answers after 300 ms. `/probe`: 200 while healthy. An upgrade: echoes."""

    def __init__(self):
        backend = self
        self.healthy = True

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Upgrade", "").lower() == "websocket":
                    return self.echo()
                status = 200
                if self.path.startswith("/status/"):
                    status = int(self.path.split("/")[2])
                elif self.path == "/probe" and not backend.healthy:
                    status = 503
                elif self.path == "/slow":
                    time.sleep(0.3)  # This is the slowness, not a wait.
                self.send_response(status)
                self.send_header("Content-Length", "3")
                self.end_headers()
                self.wfile.write(b"ok\n")

            do_POST = do_GET

            def echo(self):
                key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
                self.end_headers()
                self.close_connection = True
                while True:
                    head = self.rfile.read(2)
                    if len(head) < 2:
                        return
                    # Masked and short, because that is what the test's client sends.
                    mask, payload = self.rfile.read(4), self.rfile.read(head[1] & 0x7F)
                    self.wfile.write(bytes([head[0], len(payload)]) + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
                    if head[0] & 0x0F == 8:
                        return

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # A client that goes away in the middle is what some of them are asked to do.

        server = Server(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()

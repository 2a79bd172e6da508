"""Backends that say which they are: one process, a port for each name, on every address of this machine."""

import asyncio
import sys


class Backend(asyncio.Protocol):
    def __init__(self, name):
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name)

    def connection_made(self, transport):
        self.transport, self.read = transport, b""

    def data_received(self, data):
        self.read += data
        while b"\r\n\r\n" in self.read:
            # No body ever comes.
            _, self.read = self.read.split(b"\r\n\r\n", 1)
            self.transport.write(self.answer)


async def main(ports):
    loop = asyncio.get_running_loop()
    for name, port in zip((b"a", b"b"), ports):
        await loop.create_server(lambda name=name: Backend(name), "0.0.0.0", int(port), backlog=4096)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1:]))

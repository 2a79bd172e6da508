"""A network between this machine and a namespace of its own that delays and loses packets, as `tc netem` does where the kernel
has it: two TUN devices, and this program between them.

    wire.py NAMESPACE      10.231.0.1 is here, 10.231.0.2 to 10.231.0.4 are there

Each line of standard input says how it is from then on, and is answered by the same line:
    delay MS JITTER LOSS   each way: so long, give or take, and this share of packets is lost
    cut ADDRESS            nothing to or from this address any more
    clear                  nothing of it
"""

import fcntl
import heapq
import ipaddress
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def device(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def main(namespace):
    here, there = device("pfaults0"), device("pfaults1")
    ip("netns", "add", namespace)
    try:
        ip("addr", "add", "10.231.0.1/24", "dev", "pfaults0")
        ip("link", "set", "pfaults0", "up")
        ip("link", "set", "pfaults1", "netns", namespace)
        for last in (2, 3, 4):
            ip("-n", namespace, "addr", "add", f"10.231.0.{last}/24", "dev", "pfaults1")
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "link", "set", "pfaults1", "up")
        print("ready", flush=True)
        relay(here, there)
    finally:
        ip("netns", "del", namespace)


def relay(here, there):
    delay, jitter, loss, cut = 0.0, 0.0, 0.0, set()
    waiting, order, commands = [], 0, b""
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([here, there, 0], [], [], pause)
        if 0 in readable:
            more = os.read(0, 4096)
            if not more:
                return
            *lines, commands = (commands + more).split(b"\n")
            for line in lines:
                words = line.decode().split()
                if words[0] == "delay":
                    delay, jitter, loss = float(words[1]) / 1000, float(words[2]) / 1000, float(words[3])
                elif words[0] == "cut":
                    cut.add(ipaddress.ip_address(words[1]).packed)
                else:
                    delay, jitter, loss, cut = 0.0, 0.0, 0.0, set()
                print(line.decode(), flush=True)
        for source, target in ((here, there), (there, here)):
            if source not in readable:
                continue
            packet = os.read(source, 65536)
            if packet[0] >> 4 != 4 or random.random() < loss or packet[12:16] in cut or packet[16:20] in cut:
                continue
            order += 1
            due = time.monotonic() + max(0.0, delay + random.uniform(-jitter, jitter))
            heapq.heappush(waiting, (due, order, target, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(waiting)
            try:
                os.write(target, packet)
            except BlockingIOError:
                pass  # Its queue is full: lost, as in any network.


if __name__ == "__main__":
    main(sys.argv[1])

# SPDX-License-Identifier: LGPL-2.1-or-later
"""A hostile peer of the agent's socket: a dozen connections at once, each wrong in its own way, and how many of them the
agent has not closed after SECONDS. usage: garbage.py SEED"""

import random
import socket
import sys
import threading
import time

AGENT = "/run/spice-overlay/agent.sock"
SECONDS = 15
chance = random.Random(int(sys.argv[1]))
noise = chance.randbytes(1 << 20)
open_still = 0


def flood(peer, deadline):
    while time.monotonic() < deadline:
        peer.sendall(noise)


def trickle(peer, deadline):
    for byte in noise:
        peer.sendall(bytes([byte]))
        time.sleep(0.05)


def zeros(peer, deadline):
    while time.monotonic() < deadline:
        peer.sendall(bytes(1 << 16))


def magic_without_sense(peer, deadline):
    while time.monotonic() < deadline:
        peer.sendall(b"SpiceOvl" + noise[: chance.randrange(64)])


def nothing(peer, deadline):
    pass


def greeting_back(peer, deadline):
    # What the agent itself says, turned against it.
    while said := peer.recv(65536):
        peer.sendall(said)


def turn(kind):
    global open_still
    deadline = time.monotonic() + SECONDS
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(AGENT)
    peer.settimeout(SECONDS)
    try:
        kind(peer, deadline)
        while peer.recv(65536):
            pass
    except TimeoutError:
        open_still += 1
    except OSError:
        pass
    peer.close()


threads = [
    threading.Thread(target=turn, args=(kind,))
    for kind in (flood, trickle, zeros, magic_without_sense, nothing, greeting_back)
    for _ in range(2)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("left:", open_still)

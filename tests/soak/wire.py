# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stands between a guest's program and the host's port, or between a viewer and its server, and does to the bytes what a hostile guest
or a bad link does."""

import contextlib
import selectors
import socket
import struct
import threading
import time

# docs/protocol.md
STREAM_OPEN, ACCESS_UNIT, ACCESS_UNIT_CHUNK = 0x10, 0x11, 0x12
KEY, PARTIAL, FOLLOWS = 1, 8, 16  # flags of ACCESS_UNIT
SIZE_AT, EXTRADATA_AT = 20, 52  # of a STREAM_OPEN


def lie(true_size, said_size):
    """A filter of whole messages: the stream of `true_size` says that it has another."""

    def change(message):
        if message[2] == STREAM_OPEN and struct.unpack_from("<II", message, SIZE_AT) == true_size:
            struct.pack_into("<II", message, SIZE_AT, *said_size)
        return message

    return change


class Swap:
    """A filter of whole messages: the stream whose coded size is `size` brings other units than it says, [(data, key)] in turn."""

    def __init__(self, size, units):
        self.size, self.units = size, units
        self.stream, self.next = None, 0

    def __call__(self, message):
        kind = message[2]
        if kind == STREAM_OPEN and struct.unpack_from("<II", message, SIZE_AT) == self.size:
            self.stream, self.next = struct.unpack_from("<I", message, 4)[0], 0
            return self._sized(message[:EXTRADATA_AT])
        if kind not in (ACCESS_UNIT, ACCESS_UNIT_CHUNK) or _varint(message, 4)[0] != self.stream:
            return message
        return self._unit(message) if kind == ACCESS_UNIT else b""

    def _unit(self, message):
        flags, at = message[3], _varint(message, 4)[1]
        if flags & FOLLOWS:
            at = _varint(message, at)[1]
        else:
            at = _varint(message, _varint(message, at)[1])[1] + 8
        data, key = self.units[self.next % len(self.units)]
        self.next += 1
        message[3] = flags & ~(PARTIAL | KEY) | (KEY if key else 0)
        return self._sized(message[:at] + data)

    @staticmethod
    def _sized(message):
        struct.pack_into("<H", message, 0, len(message))
        return message


def _varint(message, at):
    """(value, where it ends)"""
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1


class _Link:
    """One connection, with its counterpart on the other side."""

    def __init__(self, near, target):
        self.near, self.far = near, socket.socket(socket.AF_UNIX)
        self.far.connect(str(target))
        self.held = bytearray()  # from the near side, not passed on yet
        self.framed = bytearray()
        for end in (self.near, self.far):
            end.setblocking(True)

    def close(self):
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Relay:
    """Listens at `path` and passes on to `target`, by a thread of its own, until close().

    `drip`: bytes a second that pass from the near side; None: all at once. What waits beyond is not read, so that the sender feels it.
    `change`: a function of whole messages (bytearray) from the near side, for a port."""

    HELD = 1 << 16

    def __init__(self, path, target, change=None):
        self.path, self.target, self.change = path, target, change
        self.drip = None
        self.links = []
        self.passed = 0  # bytes from the near side
        self.lock = threading.Lock()
        self.ended = False
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self):
        self.ended = True
        self.thread.join(5)
        self.cut()
        self.server.close()

    def cut(self):
        """Ends all connections, as a cable that is pulled."""
        with self.lock:
            links, self.links = self.links, []
        for link in links:
            link.close()

    def _run(self):
        last = time.monotonic()
        while not self.ended:
            now = time.monotonic()
            with self.lock:
                links = list(self.links)
            with selectors.DefaultSelector() as selector:
                selector.register(self.server, selectors.EVENT_READ, self._accept)
                for link in links:
                    with contextlib.suppress(ValueError, KeyError):  # closed in the meantime
                        if len(link.held) < self.HELD:
                            selector.register(link.near, selectors.EVENT_READ, lambda link=link: self._from_near(link))
                        selector.register(link.far, selectors.EVENT_READ, lambda link=link: self._from_far(link))
                for key, _ in selector.select(0.02 if any(link.held for link in links) else 0.2):
                    key.data()
            for link in links:
                self._pass_on(link, (now - last) * self.drip if self.drip else None)
            last = now

    def _accept(self):
        near, _ = self.server.accept()
        try:
            link = _Link(near, self.target)
        except OSError:
            near.close()
            return
        with self.lock:
            self.links.append(link)

    def _end(self, link):
        with self.lock:
            if link in self.links:
                self.links.remove(link)
        link.close()

    def _from_near(self, link):
        data = self._read(link, link.near)
        if not self.change:
            link.held += data
            return
        link.framed += data
        while len(link.framed) >= 4:
            size = struct.unpack_from("<H", link.framed)[0]
            if size < 4 or len(link.framed) < size:
                return
            link.held += self.change(link.framed[:size])
            del link.framed[:size]

    def _from_far(self, link):
        data = self._read(link, link.far)
        with contextlib.suppress(OSError):
            link.near.sendall(data)

    def _read(self, link, end):
        try:
            data = end.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._end(link)
        return data

    def _pass_on(self, link, allowance):
        amount = len(link.held) if allowance is None else min(len(link.held), max(1, round(allowance)))
        if not amount:
            return
        with contextlib.suppress(OSError):
            # One write for each byte that drips: nobody puts them together again.
            for piece in [link.held[:amount]] if allowance is None else [link.held[i : i + 1] for i in range(amount)]:
                link.far.sendall(piece)
        self.passed += amount
        del link.held[:amount]

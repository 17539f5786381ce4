# SPDX-License-Identifier: LGPL-2.1-or-later
"""The least client that shows frames in YUV by wl_shm and wp_viewport, and speaks the wire itself: whatever a compositor makes of its
frames is the compositor's, and not the product's."""

import array
import os
import socket
import struct
import time

YU12 = 0x32315559
XRGB = 1

_GLOBALS = {"wl_compositor": 4, "wl_subcompositor": 1, "wl_shm": 1, "wp_viewporter": 1, "xdg_wm_base": 1}


class Closed(Exception):
    """The compositor has ended the connection; the text is its reason."""


class Client:
    """A black fullscreen window of `size` logical pixels with one frame of video in it, at its upper left corner."""

    def __init__(self, path, size, seconds=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        deadline = time.monotonic() + seconds
        while self.socket.connect_ex(str(path)) != 0:  # its file is there a moment before it listens
            if time.monotonic() > deadline:
                raise Closed(f"nobody listens on {path}")
            time.sleep(0.02)
        self.last, self.received, self.names, self.done, self.serial = 1, b"", {}, set(), None
        self.registry = self._new(1, 1)
        self._round_trip()
        self.bound = {name: self._bind(name, version) for name, version in _GLOBALS.items()}
        self.window, self.video = (self._new(self.bound["wl_compositor"], 0) for _ in range(2))
        self.shell_surface = self._new(self.bound["xdg_wm_base"], 2, "u", self.window)
        toplevel = self._new(self.shell_surface, 1)
        self._request(toplevel, 11, "u", 0)  # fullscreen
        subsurface = self._new(self.bound["wl_subcompositor"], 1, "uu", self.video, self.window)
        self._request(subsurface, 5)  # its commits are its own
        viewports = [self._new(self.bound["wp_viewporter"], 1, "u", surface) for surface in (self.window, self.video)]
        self.viewport = viewports[1]
        self._request(self.window, 6)
        while self.serial is None:
            self._dispatch()
        self._request(viewports[0], 2, "ii", *size)
        self._attach(self.window, self._buffer(bytes(4), 1, 1, 4, XRGB))

    def close(self):
        self.socket.close()

    def frame(self, planes):
        """A buffer for show(): (y, u, v), the latter half as wide and high."""
        height, width = planes[0].shape
        return self._buffer(b"".join(plane.tobytes() for plane in planes), width, height, width, YU12)

    def show(self, buffer, source, destination):
        """Returns when the frame, all of it new, has been drawn. `source`: x, y, width, height in its pixels."""
        self._request(self.viewport, 1, "iiii", *(round(value * 256) for value in source))
        self._request(self.viewport, 2, "ii", *destination)
        self._attach(self.video, buffer)

    def _attach(self, surface, buffer):
        self._request(surface, 1, "uii", buffer, 0, 0)
        self._request(surface, 9, "iiii", 0, 0, 2**31 - 1, 2**31 - 1)
        drawn = self._new(surface, 3)
        self._request(surface, 6)
        self._request(self.window, 6)  # Weston 10 finds a new subsurface when its window has something to draw
        while drawn not in self.done:
            self._dispatch()

    def _buffer(self, pixels, width, height, stride, fourcc):
        memory = os.memfd_create("frame")
        os.write(memory, pixels)
        self.last += 1
        pool = self.last
        self._send(self.bound["wl_shm"], 0, struct.pack("=Ii", pool, len(pixels)), memory)
        os.close(memory)
        return self._new(pool, 0, "iiiiu", 0, width, height, stride, fourcc)

    def _bind(self, name, version):
        if name not in self.names:
            raise Closed(f"the compositor lacks {name}")
        text = name.encode() + b"\0"
        text += bytes(-len(text) % 4)
        self.last += 1
        body = struct.pack("=II", self.names[name], len(name) + 1) + text + struct.pack("=II", version, self.last)
        self._send(self.registry, 0, body)
        return self.last

    def _round_trip(self):
        callback = self._new(1, 0)
        while callback not in self.done:
            self._dispatch()

    def _new(self, target, opcode, kinds="", *values):
        """A request whose first argument is a new object."""
        self.last += 1
        self._request(target, opcode, "u" + kinds, self.last, *values)
        return self.last

    def _request(self, target, opcode, kinds="", *values):
        self._send(target, opcode, struct.pack("=" + kinds.replace("u", "I"), *values))

    def _send(self, target, opcode, body, descriptor=None):
        message = struct.pack("=II", target, (len(body) + 8) << 16 | opcode) + body
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        self.socket.sendmsg([message], rights)

    def _dispatch(self):
        while len(self.received) < 8 or len(self.received) < struct.unpack_from("=I", self.received, 4)[0] >> 16:
            piece = self.socket.recv(65536)
            if not piece:
                raise Closed("the compositor is gone")
            self.received += piece
        source, head = struct.unpack_from("=II", self.received)
        body, self.received = self.received[8 : head >> 16], self.received[head >> 16 :]
        self._event(source, head & 0xFFFF, body)

    def _event(self, source, opcode, body):
        if source == 1 and opcode == 0:
            raise Closed(body[12:].rstrip(b"\0").decode())
        if source == 1:
            return
        if source == self.registry and opcode == 0:
            name, length = struct.unpack_from("=II", body)
            self.names[body[8 : 7 + length].decode()] = name
        elif source == self.bound_or_none("xdg_wm_base"):
            self._request(source, 3, "u", *struct.unpack("=I", body))
        elif source == getattr(self, "shell_surface", None):
            self.serial = struct.unpack("=I", body)[0]
            self._request(source, 4, "u", self.serial)
        elif len(body) == 4 and opcode == 0:
            self.done.add(source)

    def bound_or_none(self, name):
        return getattr(self, "bound", {}).get(name)

# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts and stops what a test or the demo needs: Weston, the host, the sender in the guest, the viewer. Every wait
has a deadline, every program has a log, and everything that was started is gone when the Stage is left."""

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import numpy as np

PROGRAMS = {
    "spice-overlay-host": "tests/host",
    "spice-overlay-film-host": "tests/bench",
    "spice-overlay-geometry-client": "tests/bench",
    "spice-overlay-window-mover": "tests/bench",
    "spice-overlay-play": "guest/play",
    "spice-overlay-agentd": "guest/agentd",
    "spice-overlay-port": "portclient/tool",
    "spice-overlay-viewer": "overlay/viewer",
    "spice-overlay-decoder": "dmabuf/decoder",
    "spice-overlay-doctor": "overlay/doctor",
    "decoder-with-stand-in": "tests/vadriver",
    "straying-decoder": "tests/dmabuf",
    "viewer-with-stand-in": "tests/dmabuf",
    "doctor-with-stand-in": "tests/dmabuf",
    "weston-shot": "tests/tools",
    "overload-guest": "tests/wayland",
}
# How much longer than written every deadline is: what a sanitizer costs, in the runs that have one.
PATIENCE = float(os.environ.get("SPICE_OVERLAY_PATIENCE", "1"))
BACKGROUND = (123, 31, 163)  # of Weston itself: seen by nobody when all is well


class Failure(AssertionError):
    """Something did not happen in time, or a program ended that should not have; the text is for people."""


class Missing(Exception):
    """This machine or this build lacks a program; the text names it."""


def wait_for(condition, seconds, what, every=0.02):
    """Returns what `condition()` returns once it is true."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain: {what() if callable(what) else what}")
        time.sleep(every)


class Process:
    """A program in a process group of its own, its output in a log."""

    def __init__(self, name, command, environment, log, **streams):
        self.name, self.log_path = name, log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                [str(word) for word in command],
                env=environment,
                start_new_session=True,
                **{"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, **streams},
            )

    @property
    def pid(self):
        return self.popen.pid

    @property
    def alive(self):
        return self.popen.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait(self, seconds):
        """The exit status, negative for a signal."""
        try:
            return self.popen.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end in {seconds} s") from None

    def wait_log(self, text, seconds=10):
        wait_for(
            lambda: text in self.log() or not self.alive, seconds, lambda: f"'{text}' from {self.name}: {self.tail()}"
        )
        if text not in self.log():
            raise Failure(f"{self.name} ended without saying '{text}': {self.tail()}")

    def tail(self, lines=5):
        return " | ".join(self.log().strip().splitlines()[-lines:]) or "(it said nothing)"

    def stop(self, seconds=5):
        for end in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, end)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # what it has left behind
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Stage:
    """Owner of all processes and of one short folder for sockets. Use as a context manager."""

    def __init__(self, build, logs=None):
        self.build = pathlib.Path(build).resolve()
        self.run_dir = pathlib.Path(tempfile.mkdtemp(prefix="spice-overlay-"))
        self.run_dir.chmod(0o700)
        self.logs = pathlib.Path(logs) if logs else self.run_dir
        self.logs.mkdir(parents=True, exist_ok=True)
        self.processes = []
        self.counter = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def path(self, name):
        """A path for a socket or a file, never used before on this stage."""
        self.counter += 1
        return self.run_dir / f"{self.counter}-{name}"

    def program(self, name):
        path = self.build / PROGRAMS[name] / name
        if not path.exists():
            raise Missing(f"{name} is not built in {self.build}")
        return path

    def start(self, name, command, environment=None, **streams):
        log = self.logs / f"{len(self.processes):02}-{name}.log"
        if command[0] in PROGRAMS:
            command = [self.program(command[0]), *command[1:]]
        elif not shutil.which(str(command[0])):
            raise Missing(f"{command[0]} is not installed")
        try:
            process = Process(name, command, {**os.environ, **(environment or {})}, log, **streams)
        except OSError as error:
            raise Missing(f"{command[0]}: {error}") from None
        self.processes.append(process)
        return process


class Shot:
    """A screenshot: `pixels` is (height, width, 3) of R, G, B; times are seconds of CLOCK_MONOTONIC."""

    HEADER = struct.Struct("=4sIIIqq")

    def __init__(self, pixels, requested, done):
        self.pixels, self.requested, self.done = pixels, requested, done

    @classmethod
    def read(cls, stream, seconds=15):
        return cls.take(lambda size: _read_exactly(stream, size, seconds))

    @classmethod
    def take(cls, read):
        """From `read(size)`, which returns exactly so many bytes."""
        magic, width, height, stride, requested, done = cls.HEADER.unpack(read(cls.HEADER.size))
        if magic != b"SHOT":
            raise Failure("weston-shot sent something that is not a picture")
        data = np.frombuffer(read(stride * height), np.uint8)
        return cls(data.reshape(height, width, 4)[:, :, 2::-1], requested / 1e9, done / 1e9)


def _read_exactly(stream, size, seconds):
    data, deadline = bytearray(), time.monotonic() + seconds * PATIENCE
    while len(data) < size:
        ready, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
        piece = os.read(stream.fileno(), min(size - len(data), 1 << 20)) if ready else b""
        if not piece:
            raise Failure("weston-shot sent no whole picture" + ("" if ready else f" in {seconds} s"))
        data += piece
    return data


class Person:
    """Somebody who sits at the keyboard and the pointer of an X server: for a Weston with `x_display`."""

    def __init__(self, stage, size=(1280, 800)):
        if not shutil.which("xdotool"):
            raise Missing("xdotool is not installed")
        self.size = size
        read_end, write_end = os.pipe()
        server = stage.start(
            "xvfb",
            ["Xvfb", "-displayfd", str(write_end), "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp"],
            pass_fds=(write_end,),
        )
        os.close(write_end)
        with os.fdopen(read_end) as answer:
            number = answer.readline().strip()
        if not number:
            raise Failure(f"Xvfb ended at once: {server.tail()}")
        self.display = f":{number}"

    def points_at(self, x, y):
        """Weston's X11 backend adds motions up, and may have missed where the pointer entered: the corners put that right."""
        for place in ((self.size[0] - 1, self.size[1] - 1), (0, 0), (x, y)):
            self.does("mousemove", *place)

    def does(self, *words):
        subprocess.run(["xdotool", *map(str, words)], env={**os.environ, "DISPLAY": self.display}, check=True)


WESTON_SETTINGS = (
    "[core]\nidle-time=0\n[shell]\npanel-position=none\nlocking=false\nanimation=none\n"
    "close-animation=none\nstartup-animation=none\nbackground-type=tile\n"
    "background-color=0xff%02x%02x%02x\n" % BACKGROUND
)


def session_environment(folder):
    """What Weston and its clients are started with, `folder` being their runtime folder."""
    return {
        "XDG_RUNTIME_DIR": str(folder),
        "WAYLAND_DISPLAY": "wayland-test",
        "GDK_BACKEND": "wayland",
        "HOME": str(folder),
        "GSETTINGS_BACKEND": "memory",
        "GTK_A11Y": "none",
        "NO_AT_BRIDGE": "1",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
        "GIO_USE_VFS": "local",
    }


class Weston:
    """Headless Weston on a runtime folder of its own, its one output exactly `size` in logical pixels; a screenshot has
    `scale` times as many. `x_display`: on an X server instead, whose keyboard and pointer are Weston's. `inside`: the
    Weston of another Debian (weston_tree.WestonTree)."""

    def __init__(self, stage, renderer="gl", size=(1280, 800), scale=1, x_display=None, inside=None):
        self.stage, self.renderer = stage, renderer
        self.folder = stage.path("runtime")
        self.folder.mkdir(mode=0o700)
        settings = self.folder / "weston.ini"
        settings.write_text(WESTON_SETTINGS)
        self.environment = session_environment(self.folder)
        enter = (lambda command: inside.enter(command, self.folder)) if inside else list
        version = (
            subprocess.run(enter(["weston", "--version"]), capture_output=True, text=True).stdout
            if inside or shutil.which("weston")
            else ""
        )
        if not version:
            raise Missing("weston is not installed")
        self.version = version.split()[-1]
        kind = "x11" if x_display else "headless"
        if int(self.version.split(".")[0]) >= 12:
            backend = [f"--backend={kind}", f"--renderer={renderer}"]
        else:
            backend = [f"--backend={kind}-backend.so", *([] if x_display and renderer == "gl" else [f"--use-{renderer}"])]
        self.process = stage.start(
            f"weston-{renderer}",
            enter(
                [
                    "weston",
                    *backend,
                    f"--width={size[0]}",
                    f"--height={size[1]}",
                    f"--scale={scale}",
                    "--socket=wayland-test",
                    f"--config={settings}",
                    "--debug",
                ]
            ),
            {**self.environment, **({"DISPLAY": x_display} if x_display else {})},
        )
        wait_for(
            lambda: (self.folder / "wayland-test").exists() or not self.process.alive,
            20,
            lambda: f"Weston's socket: {self.process.tail()}",
        )
        if not self.process.alive:
            raise Failure(f"Weston ended at once: {self.process.tail()}")
        self.camera = None

    def shoot(self):
        """One Shot, of the next repaint."""
        if not self.camera or not self.camera.alive:
            self.camera = self.stage.start(
                "camera", ["weston-shot", "--serve"], self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        self.camera.popen.stdin.write(b"\n")
        self.camera.popen.stdin.flush()
        return Shot.read(self.camera.popen.stdout)

    def stream(self, count):
        """Yields `count` Shots, taken as fast as they come."""
        camera = self.stage.start(
            "camera", ["weston-shot", "--stream", count], self.environment, stdout=subprocess.PIPE
        )
        for _ in range(count):
            yield Shot.read(camera.popen.stdout)
        camera.stop()


class Host:
    """spice-overlay-host, with this side as its controller unless `controlled` is false: then the scene runs by
    itself."""

    def __init__(self, stage, scene, *options, controlled=True, name="host"):
        self.spice, self.port = stage.path("spice"), stage.path("port")
        self.geometry, control = stage.path("geometry"), stage.path("control")
        self.dump = stage.path("dump")
        self.dump.mkdir()
        self.uri = f"spice+unix://{self.spice}"
        self.process = stage.start(
            name,
            [
                "spice-overlay-host",
                "--scene",
                scene,
                "--unix",
                self.spice,
                "--port-socket",
                self.port,
                "--geometry-socket",
                self.geometry,
                "--control-socket",
                control,
                "--dump",
                self.dump,
                *options,
            ],
        )
        wait_for(
            lambda: all(p.exists() for p in (self.spice, self.port, self.geometry, control)) or not self.process.alive,
            10,
            lambda: f"the host's sockets: {self.process.tail()}",
        )
        if not self.process.alive:
            raise Failure(f"the host ended at once: {self.process.tail()}")
        self.buffer = b""
        self.events = []  # everything seen, for the curious
        self.needed = []  # processes without which nothing more will happen
        if controlled:
            self.control = socket.socket(socket.AF_UNIX)
            wait_for(lambda: self.control.connect_ex(str(control)) == 0, 10, "the host to listen")  # a moment after the socket is there

    def tell(self, line):
        self.control.sendall(line.encode() + b"\n")

    def next_event(self, seconds):
        """The next event, or None when none came in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            piece = self._receive(max(0, deadline - time.monotonic()))
            if piece is None:
                return None
            if not piece:
                raise Failure(f"the host is gone: {self.process.tail()}")
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        self.events.append(json.loads(line))
        return self.events[-1]

    def _receive(self, seconds):
        """Some bytes from the host, b"" at its end, None when nothing came in time."""
        ready, _, _ = select.select([self.control], [], [], seconds)
        return self.control.recv(65536) if ready else None

    def wait(self, *names, seconds=20):
        """The next event of one of these names; others are passed over. Fails at once when a process of `needed` ends."""
        deadline = time.monotonic() + seconds * PATIENCE
        while True:
            event = self.next_event(min(0.5, max(0, deadline - time.monotonic())))
            if event and event["event"] in names:
                return event
            for process in self.needed:
                if not process.alive:
                    raise Failure(f"{process.name} ended: {process.tail()}")
            if time.monotonic() > deadline:
                raise Failure(f"the host did not report {' or '.join(names)} in {seconds} s: {self.process.tail()}")


def start_play(stage, host, clips, *options, name="play"):
    """spice-overlay-play in the guest, placed by the host's scene."""
    return stage.start(
        name, ["spice-overlay-play", *clips, "--port", host.port, "--geometry-from", host.geometry, *options]
    )


class Viewer:
    """spice-overlay-viewer, fullscreen on the given Weston. `asks`: with a person before it, whom it asks what to do when the
    connection ends; else it ends too."""

    def __init__(
        self,
        stage,
        weston,
        uri,
        *options,
        name="viewer",
        asks=False,
        program="spice-overlay-viewer",
        environment=None,
    ):
        self.stats_path = stage.path("stats")
        self.process = stage.start(
            name,
            [
                program,
                uri,
                "--fullscreen",
                *([] if asks else ["--exit-on-disconnect"]),
                "--stats",
                self.stats_path,
                "--decoder",
                stage.program("spice-overlay-decoder"),
                *options,
            ],
            {**weston.environment, **(environment or {})},
        )

    def stats(self):
        """The newest figures, {} before the first."""
        return last_json(self.stats_path)

    def decoders(self):
        """Process ids of its decoders."""
        found = []
        for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                name, rest = status.read_text().rsplit(")", 1)
                if name.split("(", 1)[1] == "spice-overlay-decoder"[:15] and int(rest.split()[1]) == self.process.pid:
                    found.append(int(status.parent.name))
        return sorted(found)

    def maps_video_memory(self):
        """Whether a decoder's frame memory stands in the viewer's address space."""
        return "spice-overlay-frame" in pathlib.Path(f"/proc/{self.process.pid}/maps").read_text()


def last_json(path):
    """The last whole line of a file of JSON lines, {} when there is none."""
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        with contextlib.suppress(json.JSONDecodeError):  # the last line may be half written
            return json.loads(line)
    return {}


def read_ppm(path):
    data = pathlib.Path(path).read_bytes()
    magic, width, height, largest = data.split(maxsplit=4)[:4]
    if magic != b"P6" or largest != b"255":
        raise Failure(f"{path}: not a PPM picture")
    size = int(width) * int(height) * 3
    return np.frombuffer(data[-size:], np.uint8).reshape(int(height), int(width), 3)

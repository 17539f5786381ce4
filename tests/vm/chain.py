# SPDX-License-Identifier: LGPL-2.1-or-later
"""The whole chain inside a machine: host, sender, viewer with its decoders, and the Weston of another Debian that shows
it. The programs are those of the build tree, on a kernel that this computer need not have; what they say is heard
outside, where the oracle judges. These classes do for a machine what those of the same names in stage.py do for this
computer."""

import contextlib
import pathlib
import time

import stage as staging
from stage import Failure

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = "/run/chain"  # in the guest, seen from its own root and from /host
FLAGS_SECONDS = 300
SECONDS = 600  # for anything to begin, in an emulated guest on a busy computer


@contextlib.contextmanager
def running(machine):
    """Gives a function to which to hand what has been started: all of it, or its `process`, is ended when the context
    is left, and the folder of sockets is gone."""
    with contextlib.ExitStack() as stack:
        stack.callback(machine.run, "rm", "-rf", FOLDER)

        def keep(item):
            stack.callback(getattr(item, "process", item).stop)
            return item

        yield keep


def _wait_socket(machine, process, path, seconds=SECONDS):
    staging.wait_for(
        lambda: not process.alive or machine.run("sh", "-c", f"test -S {path} && echo there", check=False),
        seconds,
        lambda: f"{path} of {process.name}: {process.tail()}\n{_whereabouts(machine)}",
        every=0.3,
    )
    if not process.alive:
        raise Failure(f"{process.name} ended at once: {process.tail()}")


def _whereabouts(machine):
    """Where in the kernel the guest's programs wait."""
    script = """for process in /proc/[0-9]*; do
        test -n "$(tr -d '\\0' <$process/cmdline)" && echo "$(cat $process/comm) in $(cat $process/wchan): $(grep State $process/status)"
    done"""
    return machine.run("sh", "-c", script, check=False)


class _Weston:
    """From `tree` (weston_tree.WestonTree), drawing by GL in software. `seconds`: to begin in."""

    def __init__(self, machine, tree, options, settings="", devices=(), seconds=SECONDS):
        self.machine = machine
        folder = "/run/weston"
        machine.run("rm", "-rf", folder)
        machine.write(f"{folder}/weston.ini", staging.WESTON_SETTINGS + settings)
        machine.run("chmod", "700", folder)
        self.environment = staging.session_environment(folder)
        options = ["--renderer=gl", "--socket=wayland-test", f"--config={folder}/weston.ini", *options]
        self.process = machine.start(
            "weston",
            tree.enter(["weston", *options], folder, devices),
            root="/host",
            environment={**self.environment, "LIBSEAT_BACKEND": "noop"},
        )
        _wait_socket(machine, self.process, f"{folder}/wayland-test", seconds)


class DisplayWeston(_Weston):
    """On the machine's display, a virtio GPU as large as `size`, which is looked at from outside."""

    def __init__(self, machine, tree, size, *options, **how):
        mode = f"[output]\nname=Virtual-1\nmode={size[0]}x{size[1]}\n"
        options = ["--backend=drm", "--continue-without-input", "--debug", *options]
        super().__init__(machine, tree, options, mode, devices=["dri"], **how)

    def shoot(self):
        requested = time.monotonic()
        return staging.Shot(self.machine.screen(), requested, time.monotonic())


class DisplaySway:
    """On the machine's display as DisplayWeston is, with the GPU's own fences; `tree`: compositor_tree.CompositorTree."""

    def __init__(self, machine, tree, size):
        self.machine = machine
        folder = "/run/sway"
        machine.run("rm", "-rf", folder)
        background = "#%02x%02x%02x" % staging.BACKGROUND
        settings = f"output * mode {size[0]}x{size[1]} bg {background} solid_color\ndefault_border none\nseat * hide_cursor 1\n"
        machine.write(f"{folder}/sway.conf", settings)
        machine.run("chmod", "700", folder)
        device = {
            "WLR_BACKENDS": "drm", "WLR_DRM_DEVICES": "/dev/dri/card0", "WLR_RENDER_DRM_DEVICE": "/dev/dri/renderD128",
            "WLR_RENDERER": "gles2", "WLR_RENDERER_ALLOW_SOFTWARE": "1", "WLR_LIBINPUT_NO_DEVICES": "1", "LIBSEAT_BACKEND": "noop",
        }  # fmt: skip
        session = staging.session_environment(folder)
        del session["LIBGL_ALWAYS_SOFTWARE"]  # which gives a renderer without a device: the GPU's own falls back to software, and has fences
        self.process = machine.start(
            "sway",
            tree.enter(["sway", "--debug", "--config", f"{folder}/sway.conf"], folder, devices=["dri", "udmabuf"]),  # llvmpipe has fences where it has udmabuf
            root="/host",
            environment={**session, **device},
        )
        _wait_socket(machine, self.process, f"{folder}/wayland-1")
        self.environment = {**session, "WAYLAND_DISPLAY": "wayland-1"}

    shoot = DisplayWeston.shoot


class Weston(_Weston):
    """Headless; it sees no DRM device."""

    def __init__(self, machine, tree, size):
        options = ["--backend=headless", f"--width={size[0]}", f"--height={size[1]}", "--debug"]
        options.append("--refresh-rate=10000")  # mHz: what is drawn by software on an emulated processor costs much
        super().__init__(machine, tree, options)
        self.camera, self.read_bytes = None, 0

    def shoot(self):
        """One staging.Shot, of the next repaint."""
        if not self.camera or not self.camera.alive:
            program = self.machine.stage.program("weston-shot")
            self.camera = self.machine.start(
                "camera", [program, "--serve"], root="/host", environment=self.environment, stdin=True
            )
            self.read_bytes = self.camera.log_path.stat().st_size  # with what another run has left there
        self.camera.write("\n")
        return staging.Shot.take(self._read)

    def _read(self, size):
        """The next bytes from the camera, whose output is a file that grows."""
        path, end = self.camera.log_path, self.read_bytes + size
        staging.wait_for(
            lambda: path.stat().st_size >= end or not self.camera.alive, SECONDS, "a whole picture from weston-shot"
        )
        with open(path, "rb") as pictures:
            pictures.seek(self.read_bytes)
            data = pictures.read(size)
        if len(data) < size:
            raise Failure(f"weston-shot ended: {data[-300:].decode(errors='replace')}")
        self.read_bytes = end
        return data


class Host(staging.Host):
    """spice-overlay-host in the guest, with this side as its controller."""

    def __init__(self, machine, scene):
        self.machine = machine
        self.spice, self.port, self.geometry, control = (
            f"{FOLDER}/{name}" for name in ("spice", "port", "geometry", "control")
        )
        self.uri = f"spice+unix://{self.spice}"
        machine.run("mkdir", "-p", FOLDER, "/outside/dump")
        (machine.outside / "scene").write_text(scene)
        sockets = ["--unix", self.spice, "--port-socket", self.port, "--geometry-socket", self.geometry]
        self.process = machine.start(
            "host",
            [
                *[machine.stage.program("spice-overlay-host"), "--scene", "/outside/scene", "--dump", "/outside/dump"],
                *[*sockets, "--control-socket", control],
            ],
            root="/host",
        )
        for path in (self.spice, self.port, self.geometry, control):
            _wait_socket(machine, self.process, path)
        relay = ["/usr/bin/python3", HERE / "guest/relay.py", control]
        self.control = machine.start("relay", relay, root="/host", stdin=True)
        self.buffer, self.read_bytes = b"", 0
        self.events, self.needed = [], [self.control]

    def tell(self, line):
        self.control.write(line + "\n")

    def next_event(self, seconds):
        event = super().next_event(seconds)
        if event and "framebuffer" in event:
            path = pathlib.Path(event["framebuffer"]).relative_to("/outside")
            event["framebuffer"] = str(self.machine.outside / path)
        return event

    def _receive(self, seconds):
        path = self.control.log_path
        try:
            staging.wait_for(
                lambda: path.stat().st_size > self.read_bytes or not self.control.alive, seconds, "an event"
            )
        except Failure:
            return None
        with open(path, "rb") as events:
            events.seek(self.read_bytes)
            piece = events.read()
        self.read_bytes += len(piece)
        return piece


def start_play(machine, host, clips, *options):
    program = machine.stage.program("spice-overlay-play")
    return machine.start(
        "play", [program, *clips, "--port", host.port, "--geometry-from", host.geometry, *options], root="/host"
    )


class Viewer:
    """spice-overlay-viewer, fullscreen on the given Weston."""

    def __init__(self, machine, weston, uri, environment=None):
        self.machine = machine
        self.stats_path = machine.outside / "stats"
        decoder = machine.stage.program("spice-overlay-decoder")
        # Shared folders are slow: from now on it is in the guest's memory.
        machine.run(decoder, "--codecs", root="/host", seconds=SECONDS)
        self.process = machine.start(
            "viewer",
            [
                *[machine.stage.program("spice-overlay-viewer"), uri, "--fullscreen", "--exit-on-disconnect"],
                *["--stats", "/outside/stats", "--decoder", decoder],
            ],
            root="/host",
            environment={**weston.environment, **(environment or {})},
        )

    def stats(self):
        """The newest figures, {} before the first."""
        return staging.last_json(self.stats_path)

    def flags_of_some_frames(self):
        """What the compositor says of the next frames that are measured: how many have each flag of wp_presentation."""

        def after(before):
            more = lambda: (new := self.stats().get("presentation", before))["measured"] > before["measured"] and new
            return staging.wait_for(more, FLAGS_SECONDS, "a frame that is measured", every=0.2)

        begin = after(self.stats().get("presentation", {"measured": 0}))  # the first of them may have been on its way before
        end = after(begin)
        return {name: end[name] - begin[name] for name in end}


def mappings(machine, pattern):
    """Names of the processes, one for each, that have something mapped whose line in /proc/PID/maps has `pattern` (grep
    -E) in it."""
    script = 'grep -lE -- "$1" /proc/[0-9]*/maps 2>/dev/null | sed s,maps$,comm, | xargs -r cat'
    return sorted(machine.run("sh", "-c", script, "sh", pattern, root="/host", seconds=SECONDS).split())

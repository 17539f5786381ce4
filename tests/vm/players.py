# SPDX-License-Identifier: LGPL-2.1-or-later
"""What plays in the guest: real footage, the agent, and players: Debian's own as they are packaged, and
spice-overlay-play from the build tree. And where their video is: found by looking at the guest's screen, not by asking
the programs under test."""

import collections
import os
import pathlib
import shutil
import subprocess

import clips
import demo
import numpy as np
import oracle
import stage as staging

SIZE = (640, 360)
NEAR = 4  # of 255: a player's own conversion of the placeholder to RGB is not exact
LIKE_THE_FILM = 0.9  # of the pixels, where the guest plays by itself


def _ffmpeg(*arguments):
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise staging.Failure(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")


class Film:
    """Real footage, small enough for an emulated guest to decode. `path` goes on for minutes; `reference` is one turn
    of it, of which every other turn is a bit-exact copy. `factor`: x264's, by which less is more bytes."""

    def __init__(self, folder, factor=24):
        choice = [demo.SECOND_VIDEO, *map(pathlib.Path, demo.DEFAULT_VIDEOS)]
        source = next((path for path in choice if path.exists()), None)
        if source is None:
            raise staging.Missing("no real footage is installed (apt-get install forensics-samples-files)")
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{source.stem}-{factor}.mkv"
        turn, self.path = folder / f"turn-{name}", folder / f"film-{name}"
        if not self.path.exists():
            look = f"scale={SIZE[0]}:{SIZE[1]}:out_color_matrix=smpte170m,setparams=colorspace=smpte170m"
            coding = ["-c:v", "libx264", "-profile:v", "main", "-g", "25", "-bf", "2", "-crf", factor]
            _ffmpeg("-t", 10, "-i", source, "-an", "-vf", look, "-r", 25, "-pix_fmt", "yuv420p", *coding, turn)
            unfinished = self.path.with_name("unfinished-" + self.path.name)
            _ffmpeg("-stream_loop", 600, "-i", turn, "-t", 600, "-c", "copy", unfinished)
            unfinished.rename(self.path)
        self.reference = clips.Reference(turn, folder)


class Agent:
    """spice-overlay-agentd in the guest, as root, beside a machine's desk."""

    def __init__(self, seat):
        self.seat = seat
        seat.machine.run("mkdir", "-p", "/run/spice-overlay")
        self.start()

    def start(self):
        program = self.seat.stage.program("spice-overlay-agentd")
        # The host's root is its root: so it finds the libraries that it was linked with.
        self.process = self.seat.machine.start("agentd", [program, "--verbose"], root="/host")


Player = collections.namedtuple("Player", "command root")


def table(stage):
    """Name -> Player; the film's path comes last in its command. In a `root` of /host are the host's paths, else the
    guest's own, where the host's lie under /host."""
    return {
        "gst-play": Player(["gst-play-1.0", "--no-interactive"], None),
        "parole": Player(["dbus-run-session", "--", "parole"], None),
        "spice-overlay-play": Player([stage.program("spice-overlay-play"), "--no-sound"], "/host"),
    }


def _host_registry(machine, plugins):
    """GStreamer's registry of the host's plugins, made here: in an emulated guest that takes most of a minute."""
    path = machine.outside / "host-registry.bin"
    if not path.exists():
        environment = {**os.environ, "GST_REGISTRY": str(path), "GST_PLUGIN_PATH": str(plugins)}
        subprocess.run(["gst-inspect-1.0", "spiceoverlaydec"], env=environment, stdout=subprocess.DEVNULL, check=True)
    return f"/outside/{path.name}"


class Playing:
    """A player with the film, its window and where in it the video is. `installed`: with the guest's own plugin, and the
    film where every user may read it."""

    def __init__(self, seat, film, name, installed=False):
        player = table(seat.stage)[name]
        plugins, before = seat.stage.build / "guest/gstreamer", seat.desk.windows()
        if not (plugins / "libgstspiceoverlay.so").exists():
            raise staging.Missing(f"the GStreamer plugin is not built in {plugins}")
        self.seat, self.film, self.name = seat, film, name
        if installed:
            shutil.copy(film.path, seat.machine.outside)
            environment, command = {"GST_DEBUG": "spiceoverlay*:4"}, [*player.command, f"/outside/{film.path.name}"]
        elif player.root:
            environment = {"GST_PLUGIN_PATH": plugins, "GST_REGISTRY": _host_registry(seat.machine, plugins)}
            command = [*player.command, film.path]
        else:
            environment = {"GST_PLUGIN_PATH": f"/host{plugins}"}
            command = [*player.command, f"/host{film.path}"]
        self.process = seat.desk.start(
            name, *command, root=player.root, environment={key: str(value) for key, value in environment.items()}
        )
        found = staging.wait_for(
            lambda: not self.process.alive or set(seat.desk.windows()) - set(before),
            120,
            lambda: f"a window of {name}: {self.process.tail()}",
            every=0.3,
        )
        if not self.process.alive:
            raise staging.Failure(f"{name} ended: {self.process.tail()}")
        self.window = found.pop()

    def find_placeholder(self, seconds=60):
        """Waits until one colour fills the window's video on the guest's screen, and remembers where and which."""

        def found():
            screen, (x, y, width, height) = self.seat.machine.screen(), self.seat.desk.place(self.window)
            if x < 0 or y < 0:
                return None
            inside = screen[y : y + height, x : x + width]
            colours, counts = np.unique(inside.reshape(-1, 3), axis=0, return_counts=True)
            colour = colours[counts.argmax()]
            near = (np.abs(inside.astype(np.int16) - colour.astype(np.int16)) <= NEAR).all(-1)
            columns, rows = np.nonzero(near.sum(0) > height / 3)[0], np.nonzero(near.sum(1) > width / 3)[0]
            if not columns.size or not rows.size:
                return None
            left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            # The video's shape, of one colour, and not the black that players begin with.
            shape = abs((right - left) * SIZE[1] - (bottom - top) * SIZE[0]) <= 2 * max(SIZE)
            if not shape or not near[top:bottom, left:right].all() or colour.max() < 8 * NEAR:
                return None
            return (int(left), int(top), int(right - left), int(bottom - top)), tuple(map(int, colour))

        self.offset, self.colour = staging.wait_for(
            found, seconds, lambda: f"a placeholder in {self.name}'s window: {self.process.tail()}", every=0.3
        )

    @property
    def unscaled(self):
        return self.offset[2:] == SIZE

    @property
    def target(self):
        x, y, _, _ = self.seat.desk.place(self.window)
        return (x + self.offset[0], y + self.offset[1], *self.offset[2:])

    def video(self):
        return oracle.Video(self.target, self.colour, self.film.reference)

    def shown_by_guest(self):
        """How much of the video's area on the guest's own screen one frame of the film explains, 0 ... 1. Players
        convert and scale as they like: what counts is the picture, not its last bit."""
        screen, target = self.seat.machine.screen(), self.target
        area = oracle.inside_display(target, screen.shape)
        pixels = screen[area[1] : area[3], area[0] : area[2]]
        mask = np.ones(pixels.shape[:2], bool)
        best = 0.0
        for number in oracle.likely_frames(pixels, mask, target, area, self.film.reference):
            bounds = oracle.picture_bounds(self.film.reference, number, target, area, outside_samples=True)
            best = max(best, float((oracle.deviation(pixels, bounds) <= 16).mean()))
        return best

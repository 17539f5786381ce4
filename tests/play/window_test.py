#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""spice-overlay-play with a window of its own, on Xvfb: what it shows, what its keys do, and what people get wrong.

usage: window_test.py --build DIR [--filter TEXT]"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools")]
import cases
import stage as staging
from cases import Skip, check

build = clips = None


def clip(name, *options):
    path = clips / name
    if not path.exists():
        subprocess.run(["ffmpeg", "-loglevel", "error", "-y", *options, path], check=True)
    return path


def film():
    """Ten seconds; every second a flat colour of its own, so that one pixel tells the time."""
    shades = "+".join(f"{25 * (n + 1)}*eq(floor(T),{n})" for n in range(10))
    return clip(
        "film.mp4", "-f", "lavfi", "-i", f"color=s=320x240:r=20:d=10,geq=lum='16+({shades})*0.8588':cb=128:cr=128",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-pix_fmt", "yuv420p",
    )  # fmt: skip


class Desk:
    """Xvfb with openbox, and spice-overlay-play on a terminal of its own."""

    def __init__(self, stage, *arguments, manager=True, redirects=False):
        for program in ("Xvfb", "openbox", "xdotool", "ffmpeg"):
            if not shutil.which(program):
                raise Skip(f"{program} is not installed")
        self.stage = stage
        read_end, write_end = os.pipe()
        self.server = stage.start(
            "xvfb", ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
            pass_fds=(write_end,),
        )  # fmt: skip
        os.close(write_end)
        with os.fdopen(read_end) as answer:
            number = answer.readline().strip()
        check(number, f"Xvfb ended at once: {self.server.tail()}")
        self.environment = {
            "DISPLAY": f":{number}", "HOME": str(stage.run_dir), "GST_REGISTRY": str(clips / "registry.bin"),
            "SPICE_OVERLAY_AGENT": str(stage.run_dir / "nobody"),
        }  # fmt: skip
        if redirects:
            self.environment["GST_PLUGIN_PATH"] = str(stage.build / "guest/gstreamer")
        if manager:
            self.manager = stage.start("openbox", ["openbox"], self.environment)
            staging.wait_for(lambda: "window id" in self.x("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"), 15, lambda: f"openbox: {self.manager.tail()}")
        self.statistics = stage.path("statistics")
        try:
            self.terminal, theirs = pty.openpty()
        except OSError as error:
            raise staging.Missing(f"no pseudo terminal can be had here ({error}): mount devpts on /dev/pts") from None
        self.play = stage.start(
            "play", ["spice-overlay-play", *arguments, "--no-sound", "--stats", self.statistics], self.environment,
            stdin=theirs, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)

    def client_comes(self):
        """An agent with a client, which there was none of."""
        client = self.stage.build / "tests/gstreamer/model-agent"
        agent = self.stage.build / "guest/agentd/spice-overlay-agentd"
        if not client.exists() or not agent.exists():
            raise Skip("the GStreamer plugin or the agent is not built")
        port, units = self.stage.path("port"), self.stage.path("units")
        units.mkdir()
        model = self.stage.start("client", [client, "--client", port, units], stdin=subprocess.PIPE)
        model.wait_log("listening")
        socket = self.environment["SPICE_OVERLAY_AGENT"]
        return self.stage.start("agent", [agent, "--port", port, "--socket", socket, "--sessions", "any"])

    def pause(self):
        """Returns the second that is shown from then on."""
        self.key("space")

        def stands():
            before = self.second()
            time.sleep(1.2)  # more than a second of the film
            return before >= 0 and self.second() == before

        staging.wait_for(stands, 10, lambda: "a pause")
        return self.second()

    def x(self, *command):
        return subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True).stdout

    def window(self, title="film.mp4"):
        found = staging.wait_for(
            lambda: self.x("xdotool", "search", "--onlyvisible", "--name", title).split(), 20,
            lambda: f"a window named {title}: {self.play.tail()}",
        )  # fmt: skip
        return found[-1]

    def title(self):
        return self.x("xdotool", "getwindowname", self.window())

    def key(self, name):
        self.x("xdotool", "key", "--window", self.window(), name)

    def place(self):
        """x, y, width, height of the window's inside on the screen."""
        text = self.x("xwininfo", "-id", self.window())
        return tuple(int(re.search(what + r": +(-?\d+)", text).group(1)) for what in
                     ("Absolute upper-left X", "Absolute upper-left Y", "Width", "Height"))  # fmt: skip

    def size(self):
        return self.place()[2:]

    def second(self):
        """Which second of film() the window shows in its middle; -1 while there is none."""
        x, y, width, height = self.place()
        pixels = subprocess.run(
            ["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-video_size", "800x600",
             "-i", self.environment["DISPLAY"], "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
            capture_output=True,
        ).stdout  # fmt: skip
        at = ((y + height // 2) * 800 + x + width // 2) * 3
        middle = pixels[at : at + 3]
        seconds = [n for n in range(10) if middle and all(abs(value - 25 * (n + 1)) <= 3 for value in middle)]
        return seconds[0] if seconds else -1

    def must_reach(self, wanted, seconds=15, what=""):
        staging.wait_for(lambda: wanted(self.second()), seconds, lambda: f"{what}; second {self.second()} is shown")

    def end(self, status=0):
        got = self.play.wait(15)
        check(got == status, f"exit status {got}, expected {status}: {self.play.tail()}")
        return json.loads(self.statistics.read_text())["files"] if self.statistics.exists() else None


@contextlib.contextmanager
def desk(*arguments, **more):
    with staging.Stage(build) as stage:
        yield Desk(stage, *arguments, **more)


def plays_here_without_an_agent_and_says_so():
    with desk(film(), "--loop") as d:
        d.must_reach(lambda s: s >= 1, what="the picture of its second second")
        check(d.size() == (320, 240), f"the window is {d.size()}, the video 320x240")
        check("played here" in d.title(), f"the title says '{d.title()}'")
        d.key("q")
        [item] = d.end()
        check(item["local_s"] > 0.5 and item["redirected_s"] == 0, f"accounted as {item}")
        check("played here" in d.play.log(), "the terminal was not told where it plays")


def obeys_the_keys_of_its_window():
    with desk(film()) as d:
        d.must_reach(lambda s: s >= 0, what="a picture")
        d.key("space")
        d.key("Right")
        d.must_reach(lambda s: s >= 9, what="a step of ten seconds while paused shows the end")
        d.key("Left")
        d.must_reach(lambda s: s == 0, what="a step of ten seconds back shows the beginning")
        d.key("f")
        staging.wait_for(lambda: d.size() == (800, 600), 10, lambda: f"full screen; the window is {d.size()}")
        d.key("f")
        staging.wait_for(lambda: d.size() == (320, 240), 10, lambda: f"its size again; the window is {d.size()}")
        check(d.play.alive, "it ended though nobody told it to")
        d.key("Escape")
        d.end()


def obeys_the_keys_of_its_terminal():
    with desk(film()) as d:
        d.must_reach(lambda s: s >= 0, what="a picture")
        d.play.wait_log("played here")
        os.write(d.terminal, b" \033[C")
        d.must_reach(lambda s: s >= 9, what="a step of ten seconds while paused shows the end")
        os.write(d.terminal, b"\033[D")
        d.must_reach(lambda s: s == 0, what="a step back shows the beginning")
        os.write(d.terminal, b"xyzq")
        d.end()


def a_client_that_comes_in_a_pause_gets_a_paused_film():
    with desk(film(), redirects=True) as d:
        d.must_reach(lambda s: s >= 1, what="the picture of its second second")
        paused = d.pause()
        agent = d.client_comes()
        d.play.wait_log("film.mp4: redirected", 20)
        time.sleep(1.2)  # more than a second of the film
        agent.stop()
        d.must_reach(lambda s: s >= 0, what="the picture when the client has gone")
        check(d.second() == paused, f"paused at second {paused}, second {d.second()} is shown after a client was there")
        d.key("q")
        d.end()


def a_file_after_one_that_fails_begins_at_its_start():
    gone = clips / "gone-film.mp4"
    shutil.copy(film(), gone)
    with desk(gone, film(), redirects=True) as d:
        d.must_reach(lambda s: s >= 3, what="the picture of its fourth second")
        d.pause()
        gone.unlink()
        agent = d.client_comes()
        d.play.wait_log(f"{film()}: redirected", 20)
        agent.stop()
        d.must_reach(lambda s: s >= 0, what="the picture when the client has gone")
        check(d.second() == 0, f"the second file begins at second {d.second()}")
        d.key("q")
        d.end(status=1)


def a_closed_window_ends_it():
    with desk(film(), "--loop") as d:
        d.must_reach(lambda s: s >= 0, what="a picture")
        x, y, width, _ = d.place()
        d.x("xdotool", "mousemove", str(x + width - 10), str(y - 10), "click", "1")
        d.end()


def plays_one_after_the_other_and_goes_on_after_a_bad_one():
    text = clips / "letter.mp4"
    text.write_text("This is a letter, and not a video.\n" * 40)
    short = clip("short.mp4", "-f", "lavfi", "-i", "testsrc=s=160x120:r=10:d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    with desk(short, text, clips / "none.mp4", short) as d:
        files = d.end(status=1)
        log = d.play.log()
        check([f["local_s"] > 0.5 for f in files] == [True, False, False, True], f"played {files}")
        check("letter.mp4: " in log, f"the letter was not named: {log}")
        check("none.mp4: No such file" in log, f"the missing one was not named: {log}")


def sound_without_a_picture_is_named():
    sound = clip("sound.ogg", "-f", "lavfi", "-i", "sine=d=1")
    with desk(sound) as d:
        d.end(status=1)
        check("there is no video in it" in d.play.log(), d.play.tail())


def a_codec_that_nobody_has_is_named():
    odd = clip("odd.mkv", "-f", "lavfi", "-i", "testsrc=s=160x120:r=10:d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    data = odd.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_UNKNOWN/CODEC")
    unknown = clips / "unknown.mkv"
    unknown.write_bytes(data)
    with desk(unknown) as d:
        d.end(status=1)
        check("unknown.mkv: " in d.play.log(), d.play.tail())


def ends_when_its_x_server_does():
    with desk(film(), "--loop") as d:
        d.must_reach(lambda s: s >= 0, what="a picture")
        os.killpg(d.server.pid, signal.SIGKILL)
        # Xlib, which some sinks use, ends the process by itself, with status 1 too.
        status = d.play.wait(15)
        check(status == 1, f"exit status {status}: {d.play.tail()}")


def says_what_to_do_without_an_x_display():
    with staging.Stage(build) as stage:
        environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
        done = subprocess.run([stage.program("spice-overlay-play"), film()], env=environment, capture_output=True, text=True)
        check(done.returncode == 1 and "no X display" in done.stderr and "--port" in done.stderr, f"it said: {done.stderr}")
        environment["DISPLAY"] = ":9999"
        done = subprocess.run([stage.program("spice-overlay-play"), film()], env=environment, capture_output=True, text=True)
        check(done.returncode == 1 and "cannot open the X display :9999" in done.stderr, f"it said: {done.stderr}")


def refuses_options_that_do_not_go_together():
    with staging.Stage(build) as stage:
        for words in (["--rect", "0,0,1,1"], ["--port", "x", "--local"], ["--port", "x", "--agent", "y"]):
            done = subprocess.run([stage.program("spice-overlay-play"), "a", *words], capture_output=True, text=True)
            check(done.returncode == 2 and "--help" in done.stderr, f"{words}: {done.returncode} {done.stderr}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    options, rest = parser.parse_known_args()
    build = options.build
    with tempfile.TemporaryDirectory(prefix="spice-overlay-play-") as folder:
        clips = pathlib.Path(folder)
        functions = [(name, f) for name, f in list(globals().items()) if callable(f) and getattr(f, "__module__", "") == "__main__"
                     and name not in ("clip", "film", "desk", "Desk")]
        cases.main("PlayWindow", functions, rest)

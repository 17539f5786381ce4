# SPDX-License-Identifier: LGPL-2.1-or-later
"""An X server whose screen can be read, a model of the agent, and a player with the plugin between them."""

import contextlib
import json
import mmap
import os
import pathlib
import pty
import re
import shutil
import subprocess
import time

import stage as staging
from cases import Skip, check

FRAMES = 100  # shades: picture n of a film is flat, its shade that of n % FRAMES
KEYS = 25  # pictures from key unit to key unit


def has_encoder(name):
    return f" {name} " in subprocess.run(["ffmpeg", "-v", "error", "-encoders"], capture_output=True, text=True).stdout


def film(clips, seconds=8, size="320x240", rate=25, suffix="mp4", encoder=("-c:v", "libx264", "-preset", "veryfast", "-bf", "2"), busy=False, keys=KEYS):
    """Every picture has a shade of its own, so that one pixel tells which it is."""
    if not shutil.which("ffmpeg") or not has_encoder(encoder[1]):
        raise Skip(f"ffmpeg with {encoder[1]} is not installed")
    path = clips / f"film-{seconds}-{size}-{rate}-{'-'.join(word.strip('-+') for word in encoder)}{'-busy' if busy else ''}-{keys}.{suffix}"
    if not path.exists():
        source = f"testsrc2=s={size}:r={rate}:d={seconds}" if busy else (
            f"color=s={size}:r={rate},geq=lum='32+2*N':cb=128:cr=128,trim=end_frame={FRAMES},loop=-1:{FRAMES}")  # fmt: skip
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", source, "-t", str(seconds), *encoder, "-g", str(keys), "-pix_fmt", "yuv420p",
                        path], check=True)  # fmt: skip
    return path


def pieces(stream):
    """The slices of an H.264 byte stream: what remains when parameter sets and delimiters are put elsewhere."""
    nals = re.split(rb"\x00\x00\x01", stream)
    return [nal.rstrip(b"\x00") for nal in nals if nal and nal[0] & 31 in (1, 5)]


def units_of_file(path):
    run = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"],
                         capture_output=True)  # fmt: skip
    return pieces(run.stdout)


class Screen:
    """Xvfb's own memory: an XWD file (a header, a colour map, the pixels)."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        word = lambda n: int.from_bytes(self.memory[4 * n : 4 * n + 4], "big")
        self.begin, self.stride = word(0) + 12 * word(19), word(12)

    def pixel(self, x, y):
        """0xRRGGBB"""
        at = self.begin + y * self.stride + 4 * x
        return int.from_bytes(self.memory[at : at + 3], "little")


class Desk:
    def __init__(self, stage, clips, agent, screen, real):
        self.stage, self.clips = stage, clips
        for program in ("Xvfb", "gst-play-1.0", "gst-launch-1.0"):
            if not shutil.which(program):
                raise Skip(f"{program} is not installed")
        for element in ("ximagesink", "avdec_h264", "h264parse"):
            if subprocess.run(["gst-inspect-1.0", "--exists", element]).returncode:
                raise Skip(f"GStreamer's {element} is not installed")
        folder = stage.path("screen")
        folder.mkdir()
        read_end, write_end = os.pipe()
        self.server = stage.start("xvfb", ["Xvfb", "-displayfd", str(write_end), "-screen", "0", screen + "x24", "-nolisten", "tcp", "-fbdir", folder],
                                  pass_fds=(write_end,))  # fmt: skip
        os.close(write_end)
        with os.fdopen(read_end) as answer:
            number = answer.readline().strip()
        check(number, f"Xvfb ended at once: {self.server.tail()}")
        self.screen = Screen(folder / "Xvfb_screen0")
        socket = stage.path("agent.sock")
        self.environment = {
            "DISPLAY": f":{number}", "HOME": str(stage.run_dir), "GST_REGISTRY": str(clips / "registry.bin"), "GST_DEBUG_NO_COLOR": "1",
            "GST_PLUGIN_PATH": str(stage.build / "guest/gstreamer"), "SPICE_OVERLAY_AGENT": str(socket),
            "GST_DEBUG": os.environ.get("GST_DEBUG", "spiceoverlay*:4"), "XDG_RUNTIME_DIR": str(stage.run_dir),
        }  # fmt: skip
        self.agent = None
        self.seen, self.mark, self.rest = [], 0, ""
        self.colour = None
        if agent:
            self.folder = stage.path("units")
            self.folder.mkdir()
            self.report = stage.path("events")
            self.report.touch()
            program = stage.build / "tests/gstreamer/model-agent"
            port = stage.path("port") if real else socket
            self.agent = stage.start("agent", [program, *(["--client"] if real else []), port, self.folder],
                                     stdin=subprocess.PIPE, stdout=open(self.report, "ab"))  # fmt: skip
            self.file = open(self.report)
            self.wait_event("listening")
            if real:
                program = stage.build / "guest/agentd/spice-overlay-agentd"
                if not program.exists():
                    raise Skip("spice-overlay-agentd is not built")
                self.real = stage.start("real-agent", [program, "--port", port, "--socket", socket,
                                                       "--sessions", "any", "--verbose"])  # fmt: skip
                self.wait_event("player")

    # ---- the agent

    def events(self, name=None):
        """All that have come so far."""
        if self.agent:
            self.rest += self.file.read()
            *lines, self.rest = self.rest.split("\n")
            self.seen += [json.loads(line) for line in lines]
        return [event for event in self.seen if name in (None, event["event"])]

    def wait_event(self, name, wanted=lambda event: True, seconds=15, after=0):
        def found():
            self.events()
            return next((e for e in self.seen[after:] if e["event"] == name and wanted(e)), None)

        return self.wait(found, seconds, f"{name} at the agent")

    def order(self, words):
        """Returns when it was obeyed, in seconds of CLOCK_MONOTONIC."""
        self.events()
        before = len(self.seen)
        self.agent.popen.stdin.write(words.encode() + b"\n")
        self.agent.popen.stdin.flush()
        return self.wait_event("obeyed", after=before)["at"] / 1e9

    def units(self, stream):
        return pieces((self.folder / f"{stream}.bin").read_bytes())

    def decode(self, stream, form):
        """Which pictures the units of a film of 320x240 show, by their shades."""
        path = self.folder / f"{stream}.bin"
        if form == "obu":  # whose demuxer finds the units by their delimiters, which a decoder does not need
            data, whole = path.read_bytes(), b""
            for size in (e["size"] for e in self.events("unit") if e["stream"] == stream):
                whole += (b"" if data.startswith(b"\x12\x00") else b"\x12\x00") + data[:size]
                data = data[size:]
            path = self.folder / "delimited.obu"
            path.write_bytes(whole)
        run = subprocess.run(["ffmpeg", "-v", "error", "-f", form, "-i", path, "-vsync", "0", "-pix_fmt", "yuv420p",
                              "-f", "rawvideo", "-"], capture_output=True)  # fmt: skip
        return [round((shade - 32) / 2) for shade in run.stdout[1000 :: 320 * 240 * 3 // 2]]

    def settled_units(self):
        """How many units have come, when no more come."""
        count, since = len(self.events("unit")), time.monotonic()
        while time.monotonic() - since < 0.3:
            time.sleep(0.02)
            if len(self.events("unit")) != count:
                count, since = len(self.events("unit")), time.monotonic()
        return count

    def frame_due(self):
        """The picture that is to be seen now, from the units' times."""
        now = time.monotonic_ns()
        units = [e for e in self.events("unit")]
        return len([e for e in units if e["pts"] <= now]) - 1

    # ---- the player

    def play(self, path, *words):
        self.terminal, theirs = pty.openpty()
        self.player = self.stage.start(
            "player", ["gst-play-1.0", *words, "--videosink=ximagesink", "--audiosink=fakesink sync=true", path], self.environment, stdin=theirs
        )
        os.close(theirs)

    def start_pipeline(self, *words):
        self.player = self.stage.start("pipeline", ["gst-launch-1.0", *words], self.environment)

    def run(self, *words):
        return subprocess.run(words, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60)

    def key(self, bytes_):
        self.events()
        self.mark = len(self.seen)
        os.write(self.terminal, bytes_.encode())

    def end_of_film(self, seconds=25):
        status = self.player.wait(seconds)
        check(status == 0, f"the player ended with {status}: {self.player.tail()}")
        if self.agent:
            self.wait_event("gone", seconds=5)

    def cpu_of(self, seconds):
        """CPU seconds of the player while it plays for that long."""

        def used():
            fields = pathlib.Path(f"/proc/{self.player.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        before = used()
        time.sleep(seconds)  # a stretch of the film
        check(self.player.alive, f"the film was too short: {self.player.tail()}")
        return used() - before

    # ---- the screen

    def wait(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            player = getattr(self, "player", None)
            if time.monotonic() > deadline:
                raise staging.Failure(f"waited {seconds} s in vain: {what}; the screen shows {self.screen.pixel(160, 120):06x}; "
                                      f"{player.tail() if player else ''}")  # fmt: skip
            time.sleep(0.004)

    def redirected(self):
        """Waits until the placeholder is seen and found."""
        geometry = self.wait_event("geometry", lambda e: e["placeholder"] >= 0 and e["visible"])
        self.colour = geometry["placeholder"]
        self.wait(self.flat, 5, "the placeholder on the screen")

    def flat(self):
        seen = [self.screen.pixel(x, y) for x, y in ((160, 120), (20, 20), (300, 220))]
        return all(abs((pixel >> shift & 255) - (self.colour >> shift & 255)) <= 4 for pixel in seen for shift in (0, 8, 16))

    def must_stay_flat(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            check(self.flat(), f"the screen shows {self.screen.pixel(160, 120):06x} where the placeholder is to be")
            time.sleep(0.005)

    def frame(self):
        """Which picture of a film is on the screen, or None."""
        pixel = self.screen.pixel(160, 120)
        r, g, b = pixel >> 16, pixel >> 8 & 255, pixel & 255
        if max(r, g, b) - min(r, g, b) > 6:
            return None
        luma = 16 + g * 219 / 255
        number = (luma - 32) / 2
        return round(number) if -0.4 < number < FRAMES - 0.5 and g > 12 else None

    def follows_time(self, seconds, rate=25):
        """The pictures run at the film's speed; a busy machine may be late with them twice."""
        self.wait(lambda: self.frame() is not None, 3, "a picture")
        wanted, rans = seconds * rate, []
        while not rans or (abs(rans[-1] - wanted) > 6 and len(rans) < 3):
            began, first, seen = time.monotonic(), self.frame(), set()
            while time.monotonic() - began < seconds:
                time.sleep(0.005)
                now = self.frame()
                check(now is not None, f"a flash of {self.screen.pixel(160, 120):06x}")
                seen.add(now)
            rans.append((now - first) % FRAMES)
        check(abs(rans[-1] - wanted) <= 6, f"{rans} pictures went by in {seconds} s each, {wanted} do in the film")
        check(len(seen) > wanted / 3, f"only {len(seen)} different pictures were seen")


@contextlib.contextmanager
def desk(build, clips, agent=True, screen="800x600", real=False):
    """`real`: the real agent, between the player and a model of the client."""
    with staging.Stage(build) as stage:
        yield Desk(stage, clips, agent, screen, real)

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes wrong, through the real programs: each time a message that says so, and the desktop still alive.

usage: bad_input_test.py --build DIR [--filter TEXT]"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import clips
import oracle
import rehearsal
import stage as staging
from cases import Skip, check

SCENE = ROOT / "tests/wayland/still.scene"
build = clips_folder = None


class Running:
    """Host, viewer and, unless told otherwise, a film that plays in its place."""

    def __init__(self, stage, *viewer_options, film=True, renderer="gl"):
        self.stage = stage
        self.clip = clips.make(clips_folder, 480, 320, count=300, seed=4)
        self.references = {1: clips.Reference(self.clip, clips_folder)}
        self.weston = staging.Weston(stage, renderer)
        # Without a film the port stays closed in the guest, which the scene would wait for.
        self.host = staging.Host(stage, SCENE, *([] if film else ["--start-on", "client"]))
        self.viewer = staging.Viewer(stage, self.weston, self.host.uri, *viewer_options)
        self.host.wait("client-connected")
        self.play = staging.start_play(stage, self.host, [self.clip], "--loop") if film else None
        self.event = self.host.wait("step")
        self.framebuffer = staging.read_ppm(self.event["framebuffer"])
        if film:
            self.must_show_video()

    def judge(self, videos):
        return oracle.judge(self.weston.shoot().pixels, self.framebuffer, videos)

    def must_show_video(self, seconds=15):
        """In its place, and moving: a picture of before stays until there is another."""
        step = rehearsal.look_at(self.weston, self.event, self.references, seconds)
        check(
            step.verdict.clean,
            f"the video is not back in its place: {step.verdict.notes}; viewer: {self.viewer.process.tail()}",
        )
        frames = set()

        def moves():
            frames.add(self.judge(rehearsal.videos_of(self.event, self.references)).frames.get(1))
            return len(frames - {None}) >= 3

        staging.wait_for(moves, seconds, lambda: f"the film stands still: {frames}; viewer: {self.viewer.process.tail()}")

    def must_show_desktop_alone(self, seconds=10):
        """The placeholder is part of the desktop here: nothing covers it."""
        staging.wait_for(
            lambda: self.judge([]).clean, seconds, lambda: f"the desktop without video: {self.judge([]).notes}"
        )

    def must_be_alive(self):
        check(self.viewer.process.alive, f"the viewer died: {self.viewer.process.tail()}")
        check(self.host.process.alive, f"the host died: {self.host.process.tail()}")


@contextlib.contextmanager
def running(*options, **more):
    with staging.Stage(build) as stage:
        yield Running(stage, *options, **more)


def must_fail(process, *words, status=1, seconds=20):
    """Ends by itself with `status`, having said one of `words` in a line that begins with its name, and nothing of a
    crash."""
    got = process.wait(seconds)
    said = process.log()
    check(got == status, f"exit status {got}, expected {status}; it said: {process.tail()}")
    lines = [line for line in said.splitlines() if line.startswith("spice-overlay-")]
    check(
        any(word.lower() in line.lower() for word in words for line in lines), f"no line names {words}: {said[-600:]}"
    )
    check("Sanitizer" not in said and "assert" not in said.lower(), said[-600:])


def viewer_says_so_when_the_host_does_not_exist():
    with staging.Stage(build) as stage:
        weston = staging.Weston(stage, "pixman")
        must_fail(staging.Viewer(stage, weston, "spice://no-such-host.invalid:5900").process, "no-such-host.invalid")


def viewer_says_so_when_nobody_listens_on_the_port():
    with staging.Stage(build) as stage:
        weston = staging.Weston(stage, "pixman")
        with socket.socket() as closed:  # bound and not listening: refuses for as long as it is held
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            must_fail(staging.Viewer(stage, weston, f"spice://127.0.0.1:{port}").process, str(port))


def viewer_says_so_when_something_else_answers():
    with staging.Stage(build) as stage, socket.create_server(("127.0.0.1", 0)) as server:
        weston = staging.Weston(stage, "pixman")
        viewer = staging.Viewer(stage, weston, f"spice://127.0.0.1:{server.getsockname()[1]}")
        server.settimeout(15)
        connection, _ = server.accept()
        connection.sendall(b"HTTP/1.0 400 not a SPICE server\r\n\r\n")
        connection.close()
        must_fail(viewer.process, "127.0.0.1")


def viewer_says_so_when_its_address_is_no_address():
    with staging.Stage(build) as stage:
        weston = staging.Weston(stage, "pixman")
        process = staging.Viewer(stage, weston, "http://example.invalid/").process
        status = process.wait(20)
        check(status in (1, 2) and "example.invalid" in process.log(), f"{status}: {process.tail()}")


def viewer_says_so_when_the_compositor_does_not_exist():
    with staging.Stage(build) as stage:
        weston = staging.Weston(stage, "pixman")
        weston.environment["WAYLAND_DISPLAY"] = "none-here"
        process = staging.Viewer(stage, weston, "spice://127.0.0.1:1").process
        check(process.wait(20) in (1, 2) and process.log().strip(), f"{process.popen.returncode}: {process.tail()}")


def desktop_lives_and_the_name_is_told_when_the_port_name_does_not_exist():
    with running("--port-name", "org.example.not.there", film=False) as now:
        now.must_show_desktop_alone()
        now.viewer.process.wait_log("org.example.not.there")
        now.must_be_alive()


def desktop_lives_and_video_returns_after_garbage_from_the_guest():
    with running() as now:
        for size in (1, 4096, 300000):
            now.host.tell(f"garbage-port {size}")
            time.sleep(0.3)  # garbage in the middle of a playing stream: that is the case here
            now.must_be_alive()
        now.must_show_video(20)


def video_leaves_with_its_port_and_returns_with_it():
    with running() as now:
        now.host.tell("close-port")
        now.must_show_desktop_alone()
        now.host.tell("open-port")
        now.must_show_video(20)
        now.must_be_alive()


def video_resumes_after_its_decoder_was_killed():
    with running() as now:
        for _ in range(3):
            decoders = staging.wait_for(now.viewer.decoders, 10, "a decoder")
            check(len(decoders) == 1, f"decoders: {decoders}")
            os.kill(decoders[0], signal.SIGKILL)
            staging.wait_for(lambda gone=decoders[0]: gone not in now.viewer.decoders(), 10, "the decoder to be reaped")
            staging.wait_for(now.viewer.decoders, 10, "another decoder")
            now.must_show_video(20)
        now.must_be_alive()


def video_resumes_after_its_decoder_was_stopped():
    """It does not die and says nothing more: the viewer has to find out by itself."""
    with running() as now:
        stopped = staging.wait_for(now.viewer.decoders, 10, "a decoder")[0]
        os.kill(stopped, signal.SIGSTOP)
        staging.wait_for(lambda: stopped not in now.viewer.decoders(), 20, "the silent decoder to be killed")
        now.viewer.process.wait_log("says nothing")
        staging.wait_for(now.viewer.decoders, 10, "another decoder")
        now.must_show_video(20)
        now.must_be_alive()


def video_goes_back_to_the_guest_and_all_say_why_when_the_sandbox_denies_its_decoder_a_call():
    denied = "its sandbox stopped it at the system call openat"
    with staging.Stage(build) as stage:
        report = subprocess.run([stage.program("straying-decoder"), "--sandbox-report"], capture_output=True, text=True).stdout
        if "layer system-calls holds" not in report:
            raise Skip("this build's decoder has no filter of system calls")
        weston = staging.Weston(stage, "pixman")
        host = staging.Host(stage, SCENE)
        viewer = staging.Viewer(stage, weston, host.uri, "--decoder", stage.program("straying-decoder"))
        host.wait("client-connected")
        play = staging.start_play(stage, host, [clips.make(clips_folder, 480, 320, count=300, seed=4)], "--loop")
        viewer.process.wait_log(denied, 30)
        play.wait_log("the decoder failed repeatedly", 60)
        stats = staging.wait_for(lambda: (s := viewer.stats()).get("streams") == [] and s, 20, viewer.stats)
        check(denied in stats.get("decoder_failed", ""), f"the figures do not say why: {stats}")
        check(viewer.process.alive, viewer.process.tail())
        doctor = subprocess.run(
            [stage.program("spice-overlay-doctor"), "--json", "--decoder", stage.program("straying-decoder")],
            env={**os.environ, **weston.environment}, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        whys = {passed["why_not"] for film in json.loads(doctor.stdout)["streams"] for passed in film["passed_over"]}
        check(any(denied in why for why in whys), f"the doctor does not say why: {whys}")


def viewer_shuts_decoders_into_a_sandbox_and_warns_when_told_not_to():
    warning = "WITHOUT A SANDBOX"
    for options in ([], ["--no-sandbox"]):
        with running(*options) as now:
            decoder = staging.wait_for(now.viewer.decoders, 10, "a decoder")[0]
            status = pathlib.Path(f"/proc/{decoder}/status").read_text()
            filtered, said = "Seccomp:\t2" in status, warning in now.viewer.process.log()
            check(said == bool(options), f"with {options} it said: {now.viewer.process.log()}")
            check(filtered != said, f"with {options}: {status}")


def viewer_takes_as_many_descriptors_as_the_kernel_lets_it():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        with running() as now:
            limits = pathlib.Path(f"/proc/{now.viewer.process.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = re.search(r"Max open files +(\d+) +(\d+)", limits)
    check(found and int(found[1]) == int(found[2]) == hard, limits)


def video_resumes_in_a_viewer_started_anew():
    with running() as now:
        now.viewer.process.stop(0)
        now.host.wait("client-disconnected")
        now.viewer = staging.Viewer(now.stage, now.weston, now.host.uri, name="viewer-again")
        now.host.wait("client-connected")
        now.must_show_video(20)
        check(now.play.alive, f"the sender died: {now.play.tail()}")


def no_decoder_outlives_a_killed_viewer():
    with running() as now:
        decoders = staging.wait_for(now.viewer.decoders, 10, "a decoder")
        os.kill(now.viewer.process.pid, signal.SIGKILL)
        now.viewer.process.wait(5)
        staging.wait_for(
            lambda: not any(pathlib.Path(f"/proc/{pid}/exe").exists() for pid in decoders), 10, "the decoder to end"
        )


def guest_lives_when_the_compositor_is_gone():
    with running() as now:
        now.weston.process.stop(0)
        check(now.viewer.process.wait(15) != 0, "the viewer ended as if all were well")
        check(now.viewer.process.log().strip(), "the viewer said nothing")
        now.host.wait("client-disconnected")
        check(now.play.alive and now.host.process.alive, f"{now.play.tail()} / {now.host.process.tail()}")


def viewer_says_so_when_the_server_ends():
    with running() as now:
        now.host.tell("quit")
        now.viewer.process.wait(20)
        check("spice-overlay-viewer:" in now.viewer.process.log(), f"it said: {now.viewer.process.tail()}")


def _media(name, *options):
    path = pathlib.Path(clips_folder) / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ffmpeg", "-v", "error", "-y", *options, str(path)], check=True, timeout=120)
    return path


def _truncated():
    whole = clips.make(clips_folder, 480, 320, count=300, seed=4, suffix="mp4")
    cut = pathlib.Path(clips_folder) / "truncated.mp4"
    cut.write_bytes(whole.read_bytes()[:50000])  # its index stands at the end: nothing can be made of it
    return cut


def _noise():
    path = pathlib.Path(clips_folder) / "noise.mp4"
    path.write_bytes(bytes((i * 7919 >> 3) & 255 for i in range(100000)))
    return path


# What is wrong with the file -> (how to make it, words of which the message holds one)
BAD_FILES = {
    "does_not_exist": (lambda: pathlib.Path("/nonexistent/film.mp4"), ("/nonexistent/film.mp4",)),
    "holds_sound_alone": (
        lambda: _media("sound.m4a", "-f", "lavfi", "-i", "sine=duration=2", "-c:a", "aac"),
        ("no video", "no redirectable"),
    ),
    "is_cut_off": (_truncated, ("truncated.mp4",)),
    "is_noise": (_noise, ("noise.mp4",)),
    "holds_a_codec_that_is_not_redirected": (
        lambda: _media("theora.ogv", "-f", "lavfi", "-i", "testsrc2=duration=1:size=320x240", "-c:v", "libtheora"),
        ("theora", "codec"),
    ),
}


def sender_says_so_when_its_file(kind):
    def run():
        make, words = BAD_FILES[kind]
        with running(film=False) as now:
            now.must_show_desktop_alone()
            must_fail(staging.start_play(now.stage, now.host, [make()]), *words)
            now.must_be_alive()
            # and the next file plays as if nothing had been
            staging.start_play(now.stage, now.host, [now.clip], "--loop", name="play-next")
            now.must_show_video(20)

    return f"sender_says_so_when_its_file_{kind}", run


def profile_of_ten_bits_and_422_is_shown_or_refused_with_a_reason():
    with running(film=False) as now:
        film = _media(
            "high422.mkv",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=duration=3:size=480x320",
            "-c:v",
            "libx264",
            "-profile:v",
            "high422",
            "-pix_fmt",
            "yuv422p10le",
        )
        play = staging.start_play(now.stage, now.host, [film], "--loop")
        uncompared = rehearsal.videos_of(now.event, {})  # the edges are what counts here
        staging.wait_for(
            lambda: not play.alive or now.judge(uncompared).clean, 15, lambda: f"a picture: {now.judge(uncompared)}"
        )
        check(play.alive or "spice-overlay-play:" in play.log(), f"{play.popen.returncode}: {play.tail()}")
        now.must_be_alive()


def picture_too_large_for_the_client_is_refused_with_a_reason():
    with running(film=False) as now:
        huge = _media(
            "huge.mkv",
            "-f",
            "lavfi",
            "-i",
            "color=gray:duration=0.2:size=8320x64",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
        )
        play = staging.start_play(now.stage, now.host, [huge])
        check(play.wait(20) != 0 and "spice-overlay-play:" in play.log(), f"{play.popen.returncode}: {play.tail()}")
        now.must_show_desktop_alone()
        now.must_be_alive()


def sender_survives_garbage_from_the_client():
    with staging.Stage(build) as stage:
        clip = clips.make(clips_folder, 480, 320, count=300, seed=4)
        path = stage.path("port")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            server.settimeout(10)
            play = stage.start("play", ["spice-overlay-play", clip, "--port", path, "--rect", "0,0,480,320"])
            connection, _ = server.accept()
            connection.settimeout(10)
            check(connection.recv(65536), "the sender says no HELLO")
            connection.sendall(bytes((i * 2654435761 >> 7) & 255 for i in range(1 << 20)))
            # A sender that lives hunts on, and says HELLO again; one that gives up says why.
            staging.wait_for(
                lambda: not play.alive or connection.recv(65536), 10, "another HELLO, or an end with a reason"
            )
            check(
                play.alive or (play.popen.returncode == 1 and "spice-overlay-play:" in play.log()),
                f"{play.popen.returncode}: {play.tail()}",
            )


def main():
    global build, clips_folder
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    options, _ = parser.parse_known_args()
    build, clips_folder = options.build, options.build / "test-clips"

    def guarded(name, function):
        def run():
            try:
                function()
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return name, run

    found = cases.named(
        sys.modules["__main__"],
        "viewer_",
        "desktop_",
        "video_",
        "no_decoder_",
        "guest_",
        "sender_survives_",
        "profile_",
        "picture_",
    )
    found += [sender_says_so_when_its_file(kind) for kind in BAD_FILES]
    cases.main("BadInput", [guarded(name, function) for name, function in found])


if __name__ == "__main__":
    main()

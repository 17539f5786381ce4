#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures what redirection costs, on this machine, with the real programs, and prints a table."""

import argparse
import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "bench", "vm", "oracle", "demo")]
import geometry_latency
import guest_cost
import machine as machines
import meters
import server_cost
import stage as staging
import weston_tree

VIDEO = (320, 200, 640, 360)  # where each video is shown, whatever its size: what the compositor does is the same
SCENE = """desktop 1280x800
wallpaper 8
video 1 film {} {} {} {} text "Film"
step ready
open film
step playing
{}
wait 3600s
"""
SCENES = ROOT / "tests/host/scenes"


class Table:
    def __init__(self):
        self.rows = []

    def add(self, name, value, unit, limit=None, note="", **more):
        """`limit` is the most that `value` may be."""
        row = {"name": name, "value": value, "unit": unit, "limit": limit, "ok": limit is None or value <= limit,
               "note": note, **more}
        self.rows.append(row)
        at_most = "" if limit is None else f"at most {limit:g}"
        verdict = "" if limit is None else "ok" if row["ok"] else "TOO MUCH"
        figure = f"{value:,.0f}" if value >= 10000 else f"{value:.4g}"
        print(f"  {name:58} {figure:>12} {unit:14} {at_most:16} {verdict:9}{note}".rstrip(), flush=True)
        for parts in more.values():
            print(f"      {', '.join(f'{part} {count:,}' for part, count in parts.items())}", flush=True)

    def skip(self, name, why):
        self.rows.append({"name": name, "skipped": str(why), "ok": True})
        print(f"  {name:58} {'skipped':>12} ({why})", flush=True)


class Bench:
    def __init__(self, build, quick):
        self.build = pathlib.Path(build).resolve()
        self.clips = self.build / "bench-clips"
        self.clips.mkdir(exist_ok=True)
        self.table = Table()
        self.seconds = 6 if quick else 15
        self.rounds = 1 if quick else 3

    # ---- material

    def clip(self, size, seconds, bit_rate="4M", noise=10, options=()):
        """Moving detail, 30 frames a second, at the same bit rate whatever the size. More noise is more decoding."""
        path = self.clips / ("-".join([size, f"{seconds}s", bit_rate, str(noise), *options]) + ".mp4")
        if not path.exists():
            part = path.with_suffix(".part")
            done = subprocess.run([
                "ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i",
                f"testsrc2=s=1280x720:r=30,noise=alls={noise}:allf=t,scale={size}", "-t", str(seconds),
                "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-g", "60", *options,
                "-b:v", bit_rate, "-maxrate", bit_rate, "-bufsize", bit_rate, "-f", "mp4", part],
                capture_output=True, text=True)
            if done.returncode != 0:
                raise staging.Missing(f"ffmpeg cannot make a clip: {done.stderr.strip().splitlines()[-1:]}")
            part.rename(path)
        return path

    @staticmethod
    def turns(clip, count):
        """The clip so many times in a row."""
        path = clip.with_name(f"{count}-turns-of-{clip.name}")
        if not path.exists():
            part = path.with_suffix(".part")
            subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-stream_loop", str(count - 1), "-i", clip,
                            "-c", "copy", "-f", "mp4", part], check=True)
            part.rename(path)
        return path

    def theatre(self, stage, end="", options=(), place=VIDEO, inside=None):
        """Weston, and a host whose scene stops at 'ready' and at 'playing'."""
        weston = staging.Weston(stage, "gl", (1280, 800), inside=inside)
        scene = stage.path("bench.scene")
        scene.write_text(SCENE.format(*place, end))
        return weston, staging.Host(stage, scene, *options)

    def viewer_command(self, stage, host, *options):
        return [stage.program("spice-overlay-viewer"), host.uri, "--fullscreen", "--no-audio", "--decoder",
                stage.program("spice-overlay-decoder"), *options]

    def playing(self, stage, clip, viewer_options=(), play_options=("--loop",), end="", place=VIDEO):
        """A viewer with a clip that plays: (host, viewer process, decoder's pid, statistics file)."""
        weston, host = self.theatre(stage, end, place=place)
        viewer = staging.Viewer(stage, weston, host.uri, "--no-audio", *viewer_options)
        staging.start_play(stage, host, [clip], *play_options)
        self.step(host, "ready")
        host.tell("continue")
        self.step(host, "playing")
        staging.wait_for(lambda: viewer.stats().get("frames_presented", 0) > 0 or not viewer.process.alive, 30,
                         lambda: f"a frame on the screen: {viewer.process.tail()}")
        return host, viewer, viewer.decoders()[0]

    @staticmethod
    def step(host, name):
        while host.wait("step", seconds=60)["name"] != name:
            pass

    # ---- figures

    # Without B-frames access units are due at even distances, whatever the encoder makes of the size.
    EVEN = ("-bf", "0")

    def instructions(self):
        """Of the viewer, per frame, and how they grow with the picture's size.

        Much of the cost comes with each piece of the port's data, and how many frames share one is chance. So growth is what the size
        explains at as many pieces a frame: a fit of instructions = of a frame + of the size + pieces * of a piece.
        """
        sizes = ("1280x720", "3840x2160")
        counts = {size: [] for size in sizes}
        for _ in range(max(2, self.rounds)):
            for size in sizes:
                counts[size].append(self.instructions_of(size))
        for size in sizes:
            middle = sorted(counts[size])[len(counts[size]) // 2]
            self.table.add(f"viewer instructions a frame, {size}", middle.instructions, "instructions", 50000,
                           f"{middle.pieces:.2f} port messages a frame", by_library=middle.by_library)
        rows = [(1, size == sizes[1], count.pieces) for size in sizes for count in counts[size]]
        (frame, growth, piece), *_ = numpy.linalg.lstsq(
            numpy.array(rows, float), [count.instructions for size in sizes for count in counts[size]], rcond=None)
        small = frame + piece * statistics.mean(pieces for _, _, pieces in rows)
        self.table.add(f"  growth from {sizes[0]} to {sizes[1]}", float(100 * growth / small), "%", 2,
                       f"{piece:,.0f} instructions a port message")

    Count = collections.namedtuple("Count", "instructions pieces by_library")

    def instructions_of(self, size):
        """Counted while a stream plays, so that starting up is not in it."""
        with staging.Stage(self.build) as stage:
            weston, host = self.theatre(stage)
            # The C library copies with one instruction that callgrind counts once for each byte; its vector loops
            # serve as well.
            environment = {**weston.environment,
                           "GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=0x10000000:"
                                             "glibc.cpu.x86_rep_stosb_threshold=0x10000000"}
            viewer = meters.Callgrind(stage, "viewer", self.viewer_command(stage, host), environment)
            staging.start_play(stage, host, [self.clip(size, 10, "2M", 0, self.EVEN)], "--loop")
            self.step(host, "ready")
            host.tell("continue")
            self.step(host, "playing")
            staging.wait_for(lambda: self.moving(weston), 60,
                             lambda: f"a picture that moves: {viewer.process.tail()}", every=0.5)
            time.sleep(2)
            viewer.on()
            time.sleep(self.seconds)
            viewer.off()
            if not self.moving(weston):
                raise staging.Failure(f"no picture moved any more at the end: {viewer.process.tail()}")
            count, calls, own = viewer.finish()
        frames = meters.called(calls, "spice_overlay::DecoderProcess::send(")
        shown = meters.called(calls, "spice_overlay::DecoderProcess::release(")
        if min(frames, shown) < 10 * self.seconds:
            raise staging.Failure(f"only {frames} frames sent and {shown} shown at {size} while callgrind counted")
        pieces = meters.called(calls, "spice_overlay::Session::feed(")
        return self.Count(count / frames, pieces / frames,
                          {place: round(instructions / frames) for place, instructions in own.most_common(6)})

    @staticmethod
    def moving(weston):
        """Whether two pictures of the video differ."""
        x, y, width, height = VIDEO
        first = weston.shoot().pixels[y:y + height, x:x + width].copy()
        time.sleep(0.3)
        return bool((first != weston.shoot().pixels[y:y + height, x:x + width]).any())

    def system_calls(self):
        with staging.Stage(self.build) as stage:
            _, viewer, decoder = self.playing(stage, self.clip("1280x720", 20))
            members = meters.threads(viewer.process.pid), meters.threads(decoder)
            tracer = meters.Strace(stage, [viewer.process.pid, decoder])
            time.sleep(self.seconds)
            calls = tracer.stop()
        of_viewer, of_decoder, hop, names = meters.calls_per_frame(calls, *members)
        self.table.add("system calls a frame, viewer + decoder", of_viewer + of_decoder, "calls", by_name=names)
        self.table.add("  viewer", of_viewer, "calls")
        self.table.add("  decoder, FFmpeg's threads with it", of_decoder, "calls")
        self.table.add("  decoder's half of the hop between the two", hop, "calls", 2.1)

    def processor_time(self):
        """Viewer and decoder against FFmpeg that decodes the same file and does nothing with it: at the film's pace, since a processor that
        rests between pictures takes a quarter longer for each, whoever decodes, and as fast as it can."""
        for size in ("1280x720", "1920x1080"):
            clip = self.clip(size, 20)
            ratios, shares, wire, unpaced = [], [], [], []
            for _ in range(self.rounds):
                with staging.Stage(self.build) as stage:
                    weston, host = self.theatre(stage, end="close film")
                    viewer = staging.Viewer(stage, weston, host.uri, "--no-audio")
                    play = staging.start_play(stage, host, [clip])
                    self.step(host, "ready")
                    staging.wait_for(lambda: not meters.children(viewer.process.pid), 30, "GStreamer's registry")
                    time.sleep(1)
                    before = meters.cpu_seconds(viewer.process.pid, children=True)
                    host.tell("continue")
                    self.step(host, "playing")
                    staging.wait_for(viewer.decoders, 10, "a decoder")
                    staging.wait_for(lambda: not viewer.decoders(), 60, "the end of the clip")
                    used = meters.cpu_seconds(viewer.process.pid, children=True) - before
                    time.sleep(1.2)  # the figures are written once a second
                    figures = viewer.stats()
                    play.stop()
                alone = self.decode_only(clip, "-re")
                ratios.append(used / alone)
                unpaced.append(used / self.decode_only(clip))
                shares.append((used, alone))
                wire.append(figures["wire_bytes"] / max(1, figures["bitstream_bytes"]))
            used, alone = shares[ratios.index(statistics.median_low(ratios))]
            self.table.add(f"CPU against decoding alone, {size}", statistics.median(ratios), "times", 1.10,
                           f"{used:.2f} s against {alone:.2f} s, {figures['frames_presented']} frames shown, "
                           f"{figures['transport']}")
            self.table.add("  against decoding it as fast as can be", statistics.median(unpaced), "times")
            self.table.add(f"wire bytes against bitstream, {size}", statistics.median(wire), "times", 1.005)

    def players(self):
        """What showing costs the client, decoding aside, against players that read the same file and show it at the same size on the same
        compositor. Of ours, taking it from SPICE is part of that."""
        clip = self.clip("1280x720", 20)
        looped = self.turns(clip, 4)
        place = (0, 40, 1280, 720)
        contenders = {
            "mpv --vo=wlshm": mpv("wlshm", looped),
            "mpv --vo=gpu": mpv("gpu", looped),
            "mpv --vo=dmabuf-wayland": mpv("dmabuf-wayland", looped, "--hwdec=vaapi"),
            "GStreamer waylandsink": gstreamer("waylandsink", looped),
        }
        rest = {name: [] for name in ("ours", *contenders)}
        why_not, whole = {}, {}
        for _ in range(self.rounds):
            alone = {"ffmpeg": self.alone(self.ffmpeg_at_pace(looped)), "gstreamer": self.alone(gstreamer("fakesink sync=true", looped))}
            with staging.Stage(self.build) as stage:
                _, viewer, decoder = self.playing(stage, clip, place=place)
                pids = viewer.process.pid, decoder
                time.sleep(3)
                whole["ours"] = self.cores(pids)
                figures = viewer.stats()
            rest["ours"].append(whole["ours"] - alone["ffmpeg"])
            for name, command in contenders.items():
                if name in why_not:
                    continue
                try:
                    whole[name] = self.shown_by(name, command)
                    rest[name].append(whole[name] - alone["gstreamer" if "GStreamer" in name else "ffmpeg"])
                except staging.Missing as problem:
                    why_not[name] = problem
        medians = {name: 100 * statistics.median(values) for name, values in rest.items() if values}
        for name, problem in why_not.items():
            self.table.skip(f"CPU beyond decoding, 720p: {name}", problem)
        for name, median in medians.items():
            self.table.add(f"CPU beyond decoding, 720p: {name}", median, "% of a core",
                           note=f"{100 * whole[name]:.1f} % with decoding")
        others = {name: median for name, median in medians.items() if name != "ours"}
        if not others:
            self.table.skip("  ours beyond the best of them", "no other player plays here")
            return
        best = min(others, key=others.get)
        self.table.add("  ours beyond the best of them", medians["ours"] - others[best], "% of a core", 0,
                       f"{best}; {figures['transport']}")

    def shown_by(self, name, command):
        """Cores that a player takes on Weston, once its picture moves there."""
        with staging.Stage(self.build) as stage:
            weston = staging.Weston(stage, "gl", (1280, 800))
            try:
                process = stage.start("player", command, weston.environment)
            except FileNotFoundError as error:
                raise staging.Missing(f"{error.filename} is not installed") from None
            first = weston.shoot().pixels.copy()

            def plays():
                return (first != weston.shoot().pixels).mean() > 0.2 and self.moving(weston)

            end = time.monotonic() + 15
            while process.alive and time.monotonic() < end and not plays():
                time.sleep(0.5)
            if not process.alive or time.monotonic() >= end:
                raise staging.Missing(f"it shows nothing here: {process.tail(2)}")
            time.sleep(3)
            used = self.cores((process.pid,))
            if not process.alive or not self.moving(weston):
                raise staging.Failure(f"{name} stopped: {process.tail()}")
            return used

    def alone(self, command):
        with staging.Stage(self.build) as stage:
            process = stage.start("decoding", command)
            time.sleep(3)
            used = self.cores((process.pid,))
            if not process.alive:
                raise staging.Missing(f"decoding alone: {process.tail(2)}")
            return used

    def cores(self, pids):
        """Processors that running programs take from now on, on average."""
        used, begin = sum(map(meters.cpu_seconds, pids)), time.monotonic()
        time.sleep(self.seconds)
        return (sum(map(meters.cpu_seconds, pids)) - used) / (time.monotonic() - begin)

    def memory(self):
        """What the viewer has in memory while it shows a 2160p video."""
        with staging.Stage(self.build) as stage:
            _, viewer, decoder = self.playing(stage, self.clip("3840x2160", 10, "2M", 0, self.EVEN))
            samples = []
            for _ in range(self.seconds):
                time.sleep(1)
                samples.append([meters.resident_kib(pid) / 1024 for pid in (viewer.process.pid, decoder)])
            figures = viewer.stats()
        of_viewer, of_decoder = map(max, zip(*samples))
        self.table.add("memory of the viewer, 2160p (RSS, the most seen)", of_viewer, "MiB", 120e6 / 2**20,
                       f"{figures['frames_presented']} frames shown, {figures['transport']}")
        self.table.add("  of its decoder", of_decoder, "MiB")
        self.waits("2160p", figures)

    def waits(self, what, figures):
        """From a frame's being both decoded and due to its commit, and so with whatever the compositor lets it wait; which has a limit where
        the compositor reads the frame's own memory."""
        waits = figures["latency_ms"]["ready_to_commit"]
        limit = 1 if figures["transport"].startswith("linux-dmabuf") else None
        self.table.add(f"decoded and due to commit, {what}, median", waits["p50"], "ms", limit,
                       f"p95 {waits['p95']}, {figures['transport']}")

    def dmabufs(self):
        """Debian 13's Weston, which imports the tests' stand-in for dmabufs."""
        with staging.Stage(self.build) as stage:
            weston, host = self.theatre(stage, inside=weston_tree.WestonTree())
            viewer = staging.Viewer(stage, weston, host.uri, "--no-audio", program="viewer-with-stand-in",
                                    environment={"SPICE_OVERLAY_DMABUF": "always"})
            staging.start_play(stage, host, [self.clip("640x360", 20)], "--loop")
            self.step(host, "ready")
            host.tell("continue")
            self.step(host, "playing")
            time.sleep(self.seconds)
            self.waits("640x360", viewer.stats())

    def ffmpeg_at_pace(self, clip):
        threads = str(min(4, os.cpu_count()))
        return ["ffmpeg", "-v", "error", "-nostdin", "-re", "-threads", threads, "-i", clip, "-an", "-f", "null", "-"]

    @staticmethod
    def decode_only(clip, *options):
        threads = str(min(4, os.cpu_count()))
        process = subprocess.Popen(
            ["ffmpeg", "-v", "error", "-nostdin", *options, "-threads", threads, "-i", clip, "-f", "null", "-"])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status != 0:
            raise staging.Missing("ffmpeg cannot decode the clip")
        return usage.ru_utime + usage.ru_stime

    def desktop(self):
        """30 updates a second, ours against spicy's, under the same compositor."""
        for scene, what in (("desktop", "320x180 of it"), ("desktop-full", "all of it")):
            cpu = {}
            for client in ("viewer", "spicy"):
                rates = [self.desktop_cpu(scene, client) for _ in range(self.rounds)]
                cpu[client] = statistics.median(rates)
            self.table.add(f"CPU for 30 desktop updates a second, {what}", 100 * cpu["viewer"], "% of a core")
            self.table.add("  against spicy", cpu["viewer"] / cpu["spicy"], "times", 0.5,
                           f"spicy: {100 * cpu['spicy']:.1f} %")

    def desktop_cpu(self, scene, client):
        with staging.Stage(self.build) as stage:
            weston = staging.Weston(stage, "gl", (1280, 800))
            host = staging.Host(stage, SCENES / f"{scene}.scene")
            if client == "viewer":
                process = stage.start(client, self.viewer_command(stage, host), weston.environment)
            else:
                command = ["spicy", f"--uri={host.uri}", "--full-screen", "--spice-disable-audio"]
                process = stage.start(client, command, weston.environment)
            host.wait("client-connected")
            time.sleep(3)
            first = weston.shoot().pixels.copy()
            before, begin = meters.cpu_seconds(process.pid), time.monotonic()
            time.sleep(self.seconds)
            used = (meters.cpu_seconds(process.pid) - before) / (time.monotonic() - begin)
            if (first == weston.shoot().pixels).all():
                raise staging.Failure(f"{client} shows no desktop updates: {process.tail()}")
            return used

    def idle(self):
        """Wake-ups while nothing moves: without a video, with a paused one, and without redirection to compare with."""
        with staging.Stage(self.build) as stage:
            weston, host = self.theatre(stage)
            viewer = stage.start("viewer", self.viewer_command(stage, host, "--port-name", ""), weston.environment)
            host.wait("client-connected")
            time.sleep(3)
            (plain,) = meters.wakeups(stage, [viewer.pid], self.seconds)
        self.table.add("wake-ups a second, viewer without redirection, idle", plain, "wake-ups")
        with staging.Stage(self.build) as stage:
            weston, host = self.theatre(stage, end="pause film\nwait 1s\nstep paused")
            viewer = stage.start("viewer", self.viewer_command(stage, host), weston.environment)
            staging.start_play(stage, host, [self.clip("1280x720", 20)], "--loop")
            self.step(host, "ready")
            time.sleep(3)
            (idle,) = meters.wakeups(stage, [viewer.pid], self.seconds)
            self.table.add("  more with a port and no stream", idle - plain, "wake-ups", 0.2)
            host.tell("continue")
            self.step(host, "playing")
            time.sleep(2)
            host.tell("continue")
            self.step(host, "paused")
            time.sleep(3)
            decoder = decoders_of(viewer.pid)[0]
            paused, of_decoder = meters.wakeups(stage, [viewer.pid, decoder], self.seconds)
            self.table.add("  more with a paused video", paused - plain, "wake-ups", 0.2)
            self.table.add("  of its decoder", of_decoder, "wake-ups", 0)

    def port(self):
        """What a virtio port of a real QEMU carries, as spice-overlay-port measures it. Emulated, it is a floor."""
        with staging.Stage(self.build) as stage:
            machine = machines.Machine(stage, memory="512M")
            echo = machine.start("echo", [stage.program("spice-overlay-port"), "echo", machines.VIDEO_PORT],
                                 root="/host")

            def measure(*words):
                command = ["spice-overlay-port", words[0], machine.uri, "--json", "--quiet", "--timeout", "60s", *words[1:]]
                process = stage.start(f"port-{words[0]}", command, stdout=subprocess.PIPE)
                out, _ = process.popen.communicate(timeout=300)
                if not out:
                    raise staging.Failure(f"spice-overlay-port {words[0]}: {process.tail()}; in the guest: {echo.tail()}")
                return json.loads(out)

            trip = measure("rtt", "--count", "2000")
            rate = measure("throughput", "--duration", f"{self.seconds}s")
        self.table.add("virtio port: round trip, median", trip["median_ms"], "ms", note=machine.accelerator)
        self.table.add("  95th percentile", trip["p95_ms"], "ms", note=trip["verdict"])
        self.table.add("virtio port: guest to client", rate["guest_to_client_mbyte"], "MB/s", note=rate["verdict"])
        self.table.add("  client to guest", rate["client_to_guest_mbyte"], "MB/s")

    def server(self):
        """The server's own processor time for a redirected clip, against its own video streaming of the same."""
        clip = self.clip("1920x1080", 20)
        with staging.Stage(self.build) as stage:
            cores, drawn, streamed = server_cost.streaming(stage, clip, self.seconds)
        with staging.Stage(self.build) as stage:
            host, viewer, _ = self.playing(stage, clip)
            time.sleep(2)
            begin, used = time.monotonic(), meters.cpu_seconds(host.process.pid)
            time.sleep(self.seconds)
            redirected = (meters.cpu_seconds(host.process.pid) - used) / (time.monotonic() - begin)
            figures = viewer.stats()
        self.table.add("server: streaming 1080p by itself", cores, "cores",
                       note=f"{streamed:.0f} frames a second of {drawn:.0f} drawn")
        self.table.add("  redirected", redirected, "cores", note=f"{figures['frames_presented']} frames shown")
        self.table.add("  redirected against streaming", redirected / cores, "times", 0.1)

    def guest(self):
        """What a redirected 1080p video costs the guest, against decoding it there."""
        with staging.Stage(self.build) as stage:
            guest_cost.measure(self.table, stage, self.turns(self.clip("1920x1080", 20), 6), self.clip("1920x1080", 3), 3)

    def latency(self):
        """When the client hears that a window has moved, while a full-rate 1080p video goes the same way."""
        with staging.Stage(self.build) as stage:
            geometry_latency.measure(self.table, stage, self.turns(self.clip("1920x1080", 20), 6))


def mpv(output, clip, *options):
    return ["mpv", "--no-config", "--no-audio", "--msg-level=all=error", "--osd-level=0", "--keepaspect-window=no",
            "--autofit=1280x720", "--no-border", f"--vo={output}", f"--vd-lavc-threads={min(4, os.cpu_count())}", *options, clip]


def gstreamer(sink, clip):
    return ["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "qtdemux", "!", "h264parse", "!", "avdec_h264",
            f"max-threads={min(4, os.cpu_count())}", "!", *sink.split()]


def decoders_of(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spice-overlay-d" in pathlib.Path(f"/proc/{child}/comm").read_text()]


FIGURES = {
    "instructions": Bench.instructions,
    "system-calls": Bench.system_calls,
    "processor-time": Bench.processor_time,
    "players": Bench.players,
    "memory": Bench.memory,
    "dmabufs": Bench.dmabufs,
    "desktop": Bench.desktop,
    "idle": Bench.idle,
    "port": Bench.port,
    "server": Bench.server,
    "guest": Bench.guest,
    "latency": Bench.latency,
}


def main():
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="the same as data")
    parser.add_argument("--only", action="append", choices=FIGURES, help="measure this alone (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="shorter, once each: to see that it works")
    parser.add_argument("--build", default=str(ROOT / "build"), help=argparse.SUPPRESS)
    parser.add_argument("build_dir", nargs="?", metavar="BUILD_DIR", help="what to measure (default: build)")
    options = parser.parse_args()
    bench = Bench(options.build_dir or options.build, options.quick)
    failed = False
    for name in options.only or FIGURES:
        print(f"{name}:", flush=True)
        try:
            FIGURES[name](bench)
        except staging.Missing as problem:
            bench.table.skip(name, problem)
        except staging.Failure as problem:
            failed = True
            bench.table.rows.append({"name": name, "failed": str(problem), "ok": False})
            print(f"  {name} failed: {problem}", flush=True)
    beyond = [row["name"].strip() for row in bench.table.rows if not row["ok"] and "value" in row]
    if options.json:
        options.json.write_text(json.dumps(bench.table.rows, indent=2) + "\n")
    if beyond:
        print(f"Beyond their limits: {'; '.join(beyond)}")
    return 1 if failed or beyond else 0


if __name__ == "__main__":
    sys.exit(main())

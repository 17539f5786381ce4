# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long it takes until the client hears that a window has moved, while a film goes through the same port. Guest, server
and client are on this machine, so that they have one clock and the tracker the real processor."""

import contextlib
import json
import os
import re
import statistics
import subprocess
import time

import machine as machines
import stage as staging

MOVES = 300
SCREEN = "1280x800x24"


@contextlib.contextmanager
def _alone():
    """What is started meanwhile goes before all else on this machine, where that is permitted: milliseconds are otherwise
    those of whatever runs besides."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    how = "before all else on this machine"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        how = "among all else: no permission for a real-time priority"
    try:
        yield how
    finally:
        os.sched_setscheduler(0, *before)


def _idle_round_trip(stage, host):
    """As spice-overlay-port has it, in seconds."""
    program = stage.program("spice-overlay-port")
    echo = stage.start("echo", [program, "echo", host.port])
    command = [program, "rtt", host.uri, "--json", "--quiet", "--timeout", "20s", "--count", "2000"]
    process = stage.start("port-rtt", command, stdout=subprocess.PIPE)
    out, _ = process.popen.communicate(timeout=60)
    echo.stop()
    if not out:
        raise staging.Failure(f"spice-overlay-port rtt: {process.tail()}; {echo.tail()}")
    return json.loads(out)["median_ms"] / 1e3


def _geometries(client):
    """[(received, x)]; ns."""
    return [tuple(map(int, found)) for found in re.findall(r"^geometry (\d+) (-?\d+) ", client.log(), re.M)]


def _units(client):
    return int((re.findall(r"^units (\d+)", client.log(), re.M) or [0])[-1])


def _latencies(moves, geometries):
    """Seconds from the X server's event to the client, of those moves that were told."""
    told = {}
    for received, x in geometries:
        told.setdefault(x, received)
    return sorted((told[x] - event) / 1e9 for _, event, x in moves if x in told)


def _display(stage):
    """The name of an X server without a screen."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", SCREEN, "-nolisten", "tcp"]
    server = stage.start("xvfb", command, pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as number:
        name = number.readline().strip()
    if not name:
        raise staging.Missing(f"Xvfb does not start: {server.tail()}")
    return f":{name}"


def measure(table, stage, clip):
    with _alone() as how:
        _measure(table, stage, clip, how)


def _measure(table, stage, clip, how):
    scene = stage.path("scene")
    scene.write_text("desktop 640x480\nwallpaper 8\n")
    host = staging.Host(stage, scene)
    idle = _idle_round_trip(stage, host)

    socket = stage.path("agent")
    agent = stage.start("agentd", ["spice-overlay-agentd", "--port", host.port, "--socket", socket, "--sessions", "any",
                                   "--verbose"])  # fmt: skip
    client = stage.start("client", ["spice-overlay-geometry-client", host.uri, machines.VIDEO_PORT])
    agent.wait_log("is connected", 20)
    environment = {
        "DISPLAY": _display(stage),
        "WAYLAND_DISPLAY": "",
        "SPICE_OVERLAY_AGENT": str(socket),
        "GST_PLUGIN_PATH": str(stage.build / "guest/gstreamer"),
        "GST_REGISTRY": str(stage.path("registry")),
    }
    play = stage.start("gst-play", ["gst-play-1.0", "--no-interactive", "--quiet", clip], environment)
    staging.wait_for(lambda: _geometries(client), 60, lambda: f"the picture's place: {play.tail()}; {agent.tail()}")
    time.sleep(2)
    units, begin = _units(client), time.monotonic()
    mover = stage.start("mover", ["spice-overlay-window-mover", str(MOVES)], environment)
    mover.wait(90)
    rate = (_units(client) - units) / (time.monotonic() - begin)
    if mover.popen.returncode != 0 or not play.alive:
        raise staging.Failure(f"moving the window: {mover.tail()}; {play.tail()}")
    time.sleep(0.5)
    moves = [tuple(map(int, words.split()[1:])) for words in mover.log().splitlines()]
    found = _latencies(moves, _geometries(client))
    if len(found) < 0.9 * MOVES or rate < 25:
        raise staging.Failure(f"{len(found)} of {len(moves)} moves told, at {rate:.0f} pictures a second: {client.tail()}")
    late = found[int(len(found) * 0.95)]
    table.add("port: round trip, idle, median", 1e3 * idle, "ms", note=how)
    table.add("geometry: from the X event to the client, median", 1e3 * statistics.median(found), "ms",
              note=f"{len(found)} of {len(moves)} moves, {rate:.0f} pictures a second")  # fmt: skip
    table.add("  95th percentile", 1e3 * late, "ms")
    table.add("  95th percentile against the idle round trip", late / idle, "times", 3)

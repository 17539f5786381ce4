# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a redirected video costs a virtual machine, against decoding it there."""

import pathlib
import time

import players
import seat as seats
import stage as staging

SIZE = (1920, 1080)
SECONDS = 10

def _guest_seconds(machine, processes):
    """Processor time of processes in the guest, user and system."""
    total = 0
    for process in processes:
        said = machine.run("cat", f"/proc/{process.pid}/stat")
        total += sum(map(int, said.rsplit(")", 1)[1].split()[11:13]))
    return total / 100


def _server_seconds(qemu):
    """Processor time of QEMU's threads that serve the client: all but those that run the guest's processors."""
    total = 0
    for task in pathlib.Path(f"/proc/{qemu.pid}/task").iterdir():
        name, rest = (task / "stat").read_text().rsplit(")", 1)
        if "CPU " not in name:
            total += sum(map(int, rest.split()[11:13]))
    return total / 100


def _play(seat, agent, clip):
    """{program: processor time} in the guest, and the server's, for SECONDS of the redirected clip in gst-play."""
    plugin = f"/host{seat.stage.build}/guest/gstreamer"
    film = seat.machine.bring(clip)
    play = seat.desk.start(
        "gst-play", "gst-play-1.0", "--no-interactive", "--quiet", film, environment={"GST_PLUGIN_PATH": plugin}
    )
    staging.wait_for(
        lambda: seat.viewer.stats().get("frames_presented", 0) > 30, 120, lambda: f"the video: {play.tail()}", 0.2
    )
    programs = {"player": play, "agent": agent, "X": seat.desk.x}

    def now():
        return {
            **{name: _guest_seconds(seat.machine, [program]) for name, program in programs.items()},
            "server": _server_seconds(seat.machine.process),
        }

    before = now()
    time.sleep(SECONDS)
    used = {name: seconds - before[name] for name, seconds in now().items()}
    if not play.alive:
        raise staging.Failure(f"gst-play ended: {play.tail()}")
    play.signal(9)
    play.wait(20)
    return used


def _decode(machine, clip, seconds):
    """Processor time in the guest for decoding all of a clip, read from its file and shown to nobody."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)"
    )
    pipeline = ["filesrc", f"location={machine.bring(clip)}", "!", "qtdemux", "!", "h264parse", "!", "avdec_h264", "!"]
    launch = ["python3", "-c", code, "gst-launch-1.0", *pipeline]
    registry = {"GST_REGISTRY": "/var/cache/gst-registry.bin"}
    cost = lambda *end: float(machine.run(*launch, *end, seconds=seconds, environment=registry).split()[-1])
    starting = cost("fakesink", "sync=false", "num-buffers=1")
    return cost("fakesink", "sync=false") - starting


def measure(table, stage, clip, short_clip, short_seconds):
    """`short_clip` is as `clip`, and `short_seconds` long: an emulated guest takes many times that to decode it."""
    seat = seats.Seat(stage, SIZE)
    agent = players.Agent(seat).process
    agent.wait_log("is connected", 60)
    used = _play(seat, agent, clip)
    decoding = _decode(seat.machine, short_clip, 300) / short_seconds
    parts = {name: round(seconds / SECONDS, 3) for name, seconds in used.items() if name != "server"}
    table.add("guest: redirected 1080p", sum(parts.values()), "cores", note=seat.machine.accelerator, parts=parts)
    table.add("  decoding alone would take", decoding, "cores")
    table.add("  redirected against decoding", sum(parts.values()) / decoding, "", 0.15)
    table.add("server: QEMU but for the guest's processors, redirected", used["server"] / SECONDS, "cores")

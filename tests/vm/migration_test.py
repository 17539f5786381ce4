#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that plays a redirected video is moved to another QEMU while the client looks on. The guest is the initramfs
alone, since shared folders cannot be moved: a kernel, a console, and spice-overlay-play with what it is linked with.

usage: migration_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import pathlib
import re
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "vm")]
import cases
import clips
import guest_tree
import machine
import oracle
import stage as staging
import staged
from cases import check

SIZE = (1024, 768)  # of the guest's screen
TARGET = (300, 250, 480, 320)
PLACEHOLDER = (1, 254, 119)
FRAMES, RATE = 300, 30
SECONDS = 120  # on a busy computer
WITHIN = 1.0  # seconds after the switch

now = None  # the Journey


class Station:
    """One of the two QEMUs. `incoming`: the socket where it waits for a guest."""

    def __init__(self, stage, name, kernel, initramfs, incoming=None):
        self.stage, self.spice = stage, _free_port()
        qmp = stage.path("qmp")
        self.process = stage.start(
            f"qemu-{name}",
            [
                # The same for both, and there everywhere.
                *["qemu-system-x86_64", "-M", "q35", *machine.ACCELERATORS["tcg"]],
                *["-smp", "2", "-m", "1024M", "-nodefaults", "-no-user-config", "-no-reboot"],
                *["-kernel", kernel, "-initrd", initramfs],
                *["-append", machine.KERNEL_LINE + " vt.global_cursor_default=0 video=%dx%d" % SIZE],
                *["-serial", "stdio", "-qmp", f"unix:{qmp},server=on,wait=off"],
                *["-spice", f"addr=127.0.0.1,port={self.spice},disable-ticketing=on,seamless-migration=on"],
                *["-device", "qxl-vga,vgamem_mb=16", "-device", "virtio-serial-pci"],
                *["-chardev", f"spiceport,name={machine.VIDEO_PORT},id=video"],
                *["-device", f"virtserialport,chardev=video,name={machine.VIDEO_PORT}"],
                *(["-incoming", f"unix:{incoming}"] if incoming else []),
            ],
        )
        staging.wait_for(lambda: qmp.exists() or not self.process.alive, 20, "QEMU's socket")
        if not self.process.alive:
            raise staging.Missing(f"QEMU does not start: {self.process.tail()}")
        self.qmp = machine.Qmp(qmp, self.process)

    def event(self, name, seconds=SECONDS):
        """When it happened, in seconds of the clock on the wall."""
        found = lambda: [event for event in self.qmp.events if event["event"] == name]
        stamp = staging.wait_for(found, seconds, lambda: f"{name} from {self.process.name}: {self.process.tail()}")[-1]["timestamp"]
        return stamp["seconds"] + stamp["microseconds"] / 1e6

    screen = machine.Machine.screen


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _libraries(program):
    """Of a program, as the loader finds them, and the loader."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return {pathlib.Path(path) for path in re.findall(r"(/\S+) \(0x", done.stdout)}


INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
for module in /modules/*.ko; do
    /bin/busybox insmod "$module" || echo "cannot load $module"
done
for port in /sys/class/virtio-ports/*; do
    [ "$(/bin/busybox cat "$port/name")" = {port} ] && device=/dev/${{port##*/}}
done
for line in 1 2 3 4 5 6 7 8 9; do
    echo "line $line of a console that stays as it is while the guest is moved to another computer" >/dev/tty1
done
echo "ready: $device"
{play} /film.mkv --port "$device" --rect {rect} --loop
echo "the player ended: $?"
exec /bin/busybox poweroff -f
"""


def make_initramfs(tree, program, film, target):
    files = {}

    def add(name, data):
        for parent in reversed(pathlib.PurePath(name).parents[:-1]):
            files.setdefault(str(parent), None)
        files[name] = data

    add("bin/busybox", (tree.root / "usr/bin/busybox").read_bytes())
    modules = tree.root / "usr/lib/modules"
    for number, (name, data) in enumerate(guest_tree.modules_in_order(next(modules.iterdir()), ["qxl"]).items()):
        add(f"modules/{number:02}-{name}.ko", data)
    for path in {pathlib.Path(program), *_libraries(program)}:
        add(str(path).lstrip("/"), path.read_bytes())
    add("film.mkv", pathlib.Path(film).read_bytes())
    init = INIT.format(port=machine.VIDEO_PORT, play=program, rect=",".join(map(str, TARGET)))
    add("init", init.encode())
    guest_tree.write_initramfs(files, target)


class Journey:
    def __init__(self, stage, build):
        self.stage, self.tree = stage, guest_tree.obtain()
        film = clips.make(build / "test-clips", TARGET[2], TARGET[3], count=FRAMES, fps=RATE, seed=4)
        self.video = oracle.Video(TARGET, PLACEHOLDER, clips.Reference(film, build / "test-clips"))
        initramfs = stage.path("initramfs")
        make_initramfs(self.tree, stage.program("spice-overlay-play"), film, initramfs)
        self.boot = self.tree.kernel, initramfs
        self.weston = staging.Weston(stage, "gl", SIZE)
        self.here = Station(stage, "here", *self.boot)
        self.here.process.wait_log("ready: /dev/vport", SECONDS)
        self.viewer = staging.Viewer(stage, self.weston, f"spice://127.0.0.1:{self.here.spice}")

    def look(self):
        """(when, pixels) of the client's picture, by the clock on the wall."""
        shot = self.weston.shoot()
        return shot.done + time.time() - time.monotonic(), shot.pixels

    def frame(self, pixels, screen):
        """The number of the frame that is seen; None where the desktop alone is. Anything else fails."""
        if oracle.judge(pixels, screen, []).clean:
            return None
        with_video = screen.copy()
        x, y, width, height = TARGET
        with_video[y : y + height, x : x + width] = PLACEHOLDER
        verdict = oracle.judge(pixels, with_video, [self.video])
        check(verdict.clean, f"neither the film nor the desktop alone: {verdict}; viewer: {self.viewer.process.tail()}")
        return verdict.frames[1]


def video_goes_on_after_its_guest_has_moved_to_another_machine():
    # A console of the size asked for, and the client on it, whose compositor has a background of its own.
    def begun():
        screen = now.here.screen()
        shown = now.weston.shoot().pixels
        return screen.shape == shown.shape and (screen[:TARGET[1]] == shown[:TARGET[1]]).all() and screen.any()

    staging.wait_for(begun, SECONDS, lambda: f"the guest's screen: {now.viewer.process.tail()}", every=0.1)
    screen = now.here.screen()

    def film_goes_on(begin=0):
        """(when, frame) of ten looks in a row, of which five at least are different frames."""
        looks = [now.look() for _ in range(10)]  # judged afterwards: that takes longer than a frame lasts
        judged = [(when, now.frame(pixels, screen)) for when, pixels in looks]
        return len({frame for _, frame in judged} - {None}) >= 5 and judged

    staging.wait_for(film_goes_on, SECONDS, lambda: f"the film: {now.here.process.tail()}")

    meeting = now.stage.path("meeting")
    there = Station(now.stage, "there", *now.boot, incoming=meeting)
    now.here.qmp.command("client_migrate_info", protocol="spice", hostname="127.0.0.1", port=there.spice, seconds=SECONDS)
    # It moves with the guest only where it has been let in there before.
    channels = lambda station: len(station.qmp.command("query-spice").get("channels", []))
    staging.wait_for(
        lambda: channels(there) >= channels(now.here), SECONDS, lambda: f"the client's {channels(now.here)} channels there: {channels(there)}"
    )
    now.here.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 32, "downtime-limit": 500})
    begin, looks = time.time(), []
    now.here.qmp.command("migrate", uri=f"unix:{meeting}")

    def moved():
        looks.append(now.look())
        state = now.here.qmp.command("query-migrate").get("status")
        check(state != "failed", f"the guest was not moved: {now.here.process.tail()}")
        return state == "completed" and any(event["event"] == "SPICE_MIGRATE_COMPLETED" for event in now.here.qmp.events)

    staging.wait_for(moved, SECONDS, lambda: f"the move: {now.here.qmp.command('query-migrate')}")
    now.here.qmp.command("quit")
    after = staging.wait_for(film_goes_on, SECONDS, lambda: f"the film there: {there.process.tail()}")
    switch = there.event("RESUME")  # what the client takes to move its channels counts
    judged = []
    for when, pixels in looks:
        try:
            judged.append((when, now.frame(pixels, screen)))
        except AssertionError as wrong:
            raise AssertionError(f"{when - begin:.2f} s after the move began, {switch - begin:.2f} s after which it was over: {wrong}")
    judged += after
    last = [frame for when, frame in judged if when <= switch][-1]
    seen_again = next(when for when, frame in judged if when > switch and frame not in (None, last))
    stopped = now.here.event("STOP")
    print(
        f"    moved in {switch - begin:.1f} s, {switch - stopped:.2f} s of it standing still; a new frame was seen {seen_again - switch:.2f} s "
        f"after the switch; of {len(judged)} pictures since the move began {sum(frame is None for _, frame in judged)} were without it"
    )
    check(seen_again - switch < WITHIN, f"the video is shown again {seen_again - switch:.2f} s after the switch")
    check(now.viewer.process.alive, now.viewer.process.tail())
    # The other machine's own screen is what the client shows now.
    there_screen = there.screen()
    check(there_screen.shape == screen.shape and (there_screen == screen).all(), "the guest's screen has changed by the move")


def set_up(stage, options):
    global now
    now = Journey(stage, options.build)


def main():
    staged.main("Migration", cases.named(sys.modules["__main__"], "video_"), set_up)


if __name__ == "__main__":
    main()

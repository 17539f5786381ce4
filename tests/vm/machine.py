# SPDX-License-Identifier: LGPL-2.1-or-later
"""A virtual machine with a SPICE display and a port for videos: QEMU as distributions ship it, started, spoken to and
ended. Commands run in the guest through a virtio port of their own; QMP takes pictures of the guest's own screen."""

import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import sys
import threading
import time

import guest_tree
import package_tree
import stage as staging
from stage import Failure, Missing

HERE = pathlib.Path(__file__).resolve().parent
VIDEO_PORT = "org.spice-overlay.video.0"
KERNEL_LINE = (
    "quiet console=ttyS0 panic=-1 mitigations=off audit=0 apparmor=0 no_timer_check tsc=unstable cryptomgr.notests "
    "random.trust_cpu=on nokaslr"
)
# Without what takes seconds there and serves nothing here.
SYSTEMD_LINE = " guest_init=systemd systemd.journald.forward_to_console=1 " + " ".join(
    f"systemd.mask={unit}"
    for unit in """
    serial-getty@ttyS0.service systemd-random-seed.service systemd-sysctl.service systemd-journal-flush.service
    systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service systemd-binfmt.service
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount
    dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount modprobe@configfs.service
    modprobe@fuse.service modprobe@drm.service systemd-modules-load.service kmod-static-nodes.service
    """.split()
)
# What QEMU 7.2 makes of AVX2, which its "max" has, is not right: Mesa 26's llvmpipe drew every texture of RGB in one flat colour by it.
EMULATED = "Nehalem"
ACCELERATORS = {
    "kvm": ["-accel", "kvm", "-cpu", "host"],
    "tcg": ["-accel", "tcg,thread=multi", "-cpu", EMULATED],
    # The guest's clock counts its instructions, one a nanosecond: it has its own time however busy this computer is.
    "tcg-counting": ["-accel", "tcg,thread=single", "-cpu", EMULATED, "-icount", "shift=0"],
}
KVM_SECONDS = 10  # a /dev/kvm that has not booted the guest by then cannot
TCG_SECONDS = 600  # with systemd, on a very busy computer
# Of an emulated guest whose kernel ends by itself before it is up. Seen once with QEMU 7.2: an oops in an interrupt, 2 s into its start.
BOOTS = 3


class LineSocket:
    """Lines of JSON over a unix socket, sent by any thread, received by one of its own."""

    def __init__(self, path, received):
        self.socket, self.received = socket.socket(socket.AF_UNIX), received
        # The path is there a moment before anybody listens.
        staging.wait_for(lambda: self.socket.connect_ex(str(path)) == 0, 20, f"a listener on {path}")
        self.sending = threading.Lock()
        threading.Thread(target=self._receive, daemon=True).start()

    def send(self, message):
        with self.sending:
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def _receive(self):
        rest = b""
        while True:
            try:
                piece = self.socket.recv(1 << 20)
            except OSError:
                piece = b""
            if not piece:
                self.received(None)
                return
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    self.received(json.loads(line))

    def close(self):
        self.socket.close()


class Qmp:
    """QEMU's machine protocol."""

    def __init__(self, path, process):
        self.process, self.answers, self.events = process, queue.Queue(), []
        self.lines = LineSocket(path, self._received)
        self.asking = threading.Lock()
        self.command("qmp_capabilities")

    def _received(self, message):
        if message is None or "return" in message or "error" in message:
            self.answers.put(message)
        elif "event" in message:
            self.events.append(message)

    def command(self, name, /, seconds=20, **arguments):
        with self.asking:
            try:
                self.lines.send({"execute": name, "arguments": arguments})
                answer = self.answers.get(timeout=seconds)
            except (queue.Empty, OSError):
                raise Failure(f"QEMU does not answer '{name}': {self.process.tail()}") from None
        if not answer or "error" in answer:
            raise Failure(f"QEMU refuses '{name}': {answer and answer['error']['desc'] or self.process.tail()}")
        return answer["return"]


class GuestProcess:
    """A program in the guest, in a process group of its own, its output in a log that the host sees as it grows."""

    def __init__(self, machine, name, pid, log_path):
        self.machine, self.name, self.pid, self.log_path = machine, name, pid, log_path

    @property
    def status(self):
        """None while it runs; negative for a signal."""
        return self.machine.ended.get(self.pid)

    @property
    def alive(self):
        return self.status is None and self.machine.process.alive

    log = staging.Process.log
    tail = staging.Process.tail
    wait_log = staging.Process.wait_log

    def wait(self, seconds):
        staging.wait_for(lambda: not self.alive, seconds, lambda: f"the end of {self.name} in the guest: {self.tail()}")
        return self.status

    def write(self, text):
        """To its standard input, of which start() was told."""
        self.machine.ask("write", pid=self.pid, text=text)

    def signal(self, number):
        self.machine.ask("signal", pid=self.pid, signal=int(number))

    def stop(self, seconds=10):
        for end in (signal.SIGTERM, signal.SIGKILL):
            if self.alive:
                self.signal(end)
                try:
                    self.wait(seconds)
                except Failure:
                    continue
        return self.status


class Machine:
    """A booted guest on a Stage. `uri` is where a SPICE client connects; /host in the guest is the host's root, so
    that programs run from the build tree. `systemd`: it runs the guest, with guest/systemd/ added to its units.
    `own_time`: where the guest is emulated, deadlines in there do not depend on how busy this computer is."""

    def __init__(
        self,
        stage,
        display="qxl-vga,vgamem_mb=16",
        memory="1536M",
        accelerator=None,
        spice_options="",
        systemd=False,
        own_time=False,
    ):
        for program in ("qemu-system-x86_64",):
            if not shutil.which(program):
                raise Missing(f"{program} is not installed")
        self.stage, self.display, self.memory, self.spice_options = stage, display, memory, spice_options
        self.systemd = systemd
        self.tree = guest_tree.obtain(systemd=systemd)
        self.waiting, self.ended, self.counter = {}, {}, 0
        self.started = 0
        names = [accelerator] if accelerator else _accelerators(own_time)
        attempts = [*names[:-1], *names[-1:] * BOOTS]
        for boot, name in enumerate(attempts, 1):
            self.accelerator = name
            try:
                self._boot(KVM_SECONDS if name == "kvm" and not accelerator else TCG_SECONDS)
                return
            except Failure as failure:
                crashed = not self.process.alive
                self.process.stop()
                if name == "kvm" and not accelerator:
                    _remember_no_kvm()
                elif name == "kvm" or not crashed or boot == len(attempts):
                    raise
                else:
                    print(f"{failure}\nThe guest is booted again.", file=sys.stderr, flush=True)

    def _boot(self, seconds):
        stage = self.stage
        control, qmp, spice = stage.path("control"), stage.path("qmp"), stage.path("spice")
        self.uri = f"spice+unix://{spice}"
        self.outside = stage.logs / "guest"
        self.outside.mkdir(exist_ok=True)
        shutil.copy(HERE / "guest/command_server.py", self.outside)
        shutil.copytree(HERE / "guest/systemd", self.outside / "systemd", dirs_exist_ok=True)
        shares = {"tree": (self.tree.root, "on"), "host": ("/", "on"), "outside": (self.outside, "off")}
        devices = []
        for tag, (path, readonly) in shares.items():
            devices += ["-fsdev", f"local,id={tag},path={path},security_model=none,readonly={readonly},multidevs=remap"]
            devices += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        for port, (name, backend) in {
            "control": ("org.spice-overlay.test.control", f"socket,path={control},server=on,wait=off"),
            "video": (VIDEO_PORT, f"spiceport,name={VIDEO_PORT}"),
        }.items():
            devices += ["-chardev", f"{backend},id={port}"]
            devices += ["-device", f"virtserialport,id={port},chardev={port},name={name}"]
        self.process = stage.start(
            f"qemu-{self.accelerator}",
            [
                *["qemu-system-x86_64", "-M", "q35", *ACCELERATORS[self.accelerator]],
                *["-smp", "2", "-m", self.memory, "-nodefaults", "-no-user-config", "-no-reboot"],
                *["-kernel", self.tree.kernel, "-initrd", self.tree.initramfs],
                *["-append", KERNEL_LINE + self.systemd * SYSTEMD_LINE],
                *["-serial", "stdio", "-qmp", f"unix:{qmp},server=on,wait=off"],
                *["-spice", f"unix=on,addr={spice},disable-ticketing=on{self.spice_options}"],
                *["-device", self.display, "-device", "virtio-serial-pci,id=serial", *devices],
                *["-device", "virtio-keyboard-pci", "-device", "virtio-tablet-pci"],
            ],
        )
        staging.wait_for(
            lambda: (control.exists() and qmp.exists()) or not self.process.alive, 20, "QEMU's sockets"
        )
        if not self.process.alive:
            # Hardware that KVM cannot do with ends QEMU early, before its sockets or a little after.
            raise (Failure if self.accelerator == "kvm" else Missing)(f"QEMU does not start: {self.process.tail()}")
        self.ready = threading.Event()
        self.control = LineSocket(control, self._received)
        self.qmp = Qmp(qmp, self.process)
        deadline = time.monotonic() + seconds
        while not self.ready.wait(0.1):
            if not self.process.alive:
                raise Failure(f"the guest ended before it was up: {self.process.tail(60)}")
            if time.monotonic() > deadline:
                raise Failure(f"the guest is not up after {seconds} s: {self.process.tail()}")

    def _received(self, message):
        if message is None:
            for answer in self.waiting.values():
                answer.put({"error": f"the machine is gone: {self.process.tail()}"})
        elif "ready" in message:
            self.ready.set()
        elif "ended" in message:
            self.ended[message["ended"]] = message["status"]
        elif message["id"] in self.waiting:
            self.waiting[message["id"]].put(message)

    def ask(self, do, seconds=30, **what):
        self.counter += 1
        number, answer = self.counter, queue.Queue()
        self.waiting[number] = answer
        try:
            self.control.send({"id": number, "do": do, "seconds": seconds, **what})
            # The guest's seconds may be longer than ours.
            reply = answer.get(timeout=(seconds + 15) * (8 if self.accelerator == "tcg-counting" else 1))
        except (queue.Empty, OSError):
            raise Failure(f"the guest does not answer: {self.process.tail()}") from None
        finally:
            del self.waiting[number]
        if "error" in reply:
            raise Failure(f"in the guest, {' '.join(map(str, what.get('command', [do])))}: {reply['error']}")
        return reply

    def run(self, *command, seconds=30, check=True, **how):
        """What a command in the guest printed. `how`: environment, root (a folder to live in), user (a number), cgroup (a
        folder of the kernel's)."""
        reply = self.ask("run", seconds, command=[str(word) for word in command], **how)
        if check and reply["status"] != 0:
            raise Failure(f"in the guest, {' '.join(map(str, command))}: status {reply['status']}: {reply['output']}")
        return reply["output"]

    def start(self, name, command, **how):
        """`how`: as for run(), and stdin=True for a standard input to write to."""
        self.started += 1
        log = f"{self.started:02}-{name}.log"
        (self.outside / log).write_bytes(b"")  # what an earlier run has left there would be heard as this one
        reply = self.ask("start", command=[str(word) for word in command], log=f"/outside/{log}", **how)
        return GuestProcess(self, name, reply["pid"], self.outside / log)

    def write(self, path, text):
        """A file in the guest, its folders made first."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"', "sh", path, text)

    def bring(self, path):
        """A copy of the host's file in the guest's memory: shared folders are slow, and that is seen where time is measured."""
        self.run("mkdir", "-p", "/var/brought")
        self.run("cp", f"/host{path}", "/var/brought", seconds=120)
        return f"/var/brought/{path.name}"

    def load_module(self, name):
        """A kernel module that stage 1 does not load; what it depends on is loaded already."""
        path = next((self.tree.root / "usr/lib/modules").rglob(f"{name}.ko*"))
        self.run("insmod", f"/{path.relative_to(self.tree.root)}")

    def screen(self):
        """The guest's own screen, as (height, width, 3) of R, G, B."""
        path = self.stage.path("screen.ppm")
        self.qmp.command("screendump", filename=str(path))
        pixels = staging.read_ppm(path).copy()
        path.unlink()
        return pixels

    def port_path(self, name=VIDEO_PORT):
        """The guest's device of a virtio port, found as a guest without udev finds it; None where there is none."""
        names = self.run("sh", "-c", "cd /sys/class/virtio-ports && grep . */name")  # "vport1p2/name:NAME" a line
        found = [line.split("/")[0] for line in names.splitlines() if line.split(":", 1)[1] == name]
        return f"/dev/{found[0]}" if found else None


def _kvm_note():
    """Holds the host's boot in which KVM did not boot a guest: a /dev/kvm need not work."""
    return package_tree.cache_folder() / "kvm-failed"


def _this_boot():
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()


def _remember_no_kvm():
    _kvm_note().write_text(_this_boot())


def _accelerators(own_time):
    emulation = "tcg-counting" if own_time else "tcg"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return [emulation]
    note = _kvm_note()
    return [emulation] if note.exists() and note.read_text() == _this_boot() else ["kvm", emulation]

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a running program costs: instructions by callgrind, system calls by strace, time by the kernel's account."""

import collections
import os
import pathlib
import re
import signal
import subprocess
import time

import stage as staging

TICK = os.sysconf("SC_CLK_TCK")
WAITING = {"poll", "ppoll", "epoll_wait", "epoll_pwait", "select", "pselect6"}


def cpu_seconds(pid, children=False):
    """User and system time of all threads; with `children` that of children too that have ended and been collected,
    then to a hundredth of a second only."""
    if not children:
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICK


def resident_kib(pid):
    """Resident set size, in KiB."""
    return int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def children(pid):
    """Process ids."""
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


class Callgrind:
    """A program under callgrind that counts between on() and off()."""

    def __init__(self, stage, name, command, environment):
        self.out = stage.path("callgrind")
        self.process = stage.start(name, ["valgrind", "--tool=callgrind", "--instr-atstart=no",
                                          f"--callgrind-out-file={self.out}", *command], environment)

    def _switch(self, state):
        done = subprocess.run(["callgrind_control", "-i", state, str(self.process.pid)], capture_output=True, text=True,
                              timeout=120)
        if done.returncode != 0 or "OK" not in done.stdout:
            raise staging.Failure(f"callgrind_control: {done.stdout.strip()} {done.stderr.strip()}")

    def on(self):
        self._switch("on")

    def off(self):
        self._switch("off")

    def finish(self):
        """(instructions, {function: times called}) once the program has ended."""
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(120)
        return read_callgrind(self.out)


def read_callgrind(path):
    """(instructions, {function: times called}, {program or library: instructions of its own})."""
    names, objects, calls, own = {}, {}, collections.Counter(), collections.Counter()
    callee, place, after_call = None, "", False
    for line in path.read_text(errors="replace").splitlines():
        if found := re.match(r"(c?)(fn|ob)=(\(\d+\))(?: (.*))?$", line):
            table = names if found[2] == "fn" else objects
            if found[4]:
                table[found[3]] = found[4]
            if found[2] == "ob" and not found[1]:
                place = pathlib.Path(table[found[3]]).name.split(".so")[0]
            elif found[2] == "fn" and found[1]:
                callee = table[found[3]]
        elif line.startswith("calls="):
            calls[callee] += int(line[6:].split()[0])
            after_call = True
        elif found := re.match(r"[+*-]?\d* (\d+)$", line):
            if not after_call:  # else it is the cost of what was called
                own[place] += int(found[1])
            after_call = False
    return sum(own.values()), calls, own


def called(calls, start):
    """Times that the functions were called whose names begin so."""
    return sum(times for name, times in calls.items() if name.startswith(start))


class Strace:
    """The system calls of running processes, all their threads, between start and stop()."""

    def __init__(self, stage, pids):
        self.log = stage.path("strace")
        command = ["strace", "-f", "-q", "-ttt", "-o", self.log]
        for pid in pids:
            command += ["-p", pid]
        self.process = stage.start("strace", command)
        staging.wait_for(lambda: all(traced(pid) for pid in pids) or not self.process.alive, 20,
                         lambda: f"strace to attach: {self.process.tail()}")
        if not self.process.alive:
            raise staging.Missing(f"strace cannot attach here: {self.process.tail()}")

    def stop(self):
        """[(seconds, thread, call, arguments)] in order of time."""
        os.kill(self.process.pid, signal.SIGINT)
        self.process.wait(20)
        calls = []
        for line in self.log.read_text(errors="replace").splitlines():
            if found := re.match(r"(\d+) +(\d+\.\d+) (\w+)\((.*)", line):
                calls.append((float(found[2]), int(found[1]), found[3], found[4]))
        return sorted(calls)


def traced(pid):
    return any(re.search(r"TracerPid:\s*[1-9]", (task / "status").read_text())
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def threads(pid):
    return {int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}


def calls_per_frame(calls, viewer, decoder):
    """(viewer's, decoder's, the decoder's on its socket, by name) per frame, over whole frames: the decoder calls
    sendmsg on descriptor 3 once for each."""
    frames = [index for index, (_, thread, name, arguments) in enumerate(calls)
              if thread in decoder and name == "sendmsg" and arguments.startswith("3,")]
    if len(frames) < 50:
        raise staging.Failure(f"only {len(frames)} frames while strace looked")
    window = calls[frames[0]:frames[-1]]
    count = len(frames) - 1
    of_viewer = sum(thread in viewer for _, thread, _, _ in window)
    of_decoder = sum(thread in decoder for _, thread, _, _ in window)
    hop = sum(thread in decoder and name in ("sendmsg", "recvmmsg") for _, thread, name, _ in window)
    names = collections.Counter(("viewer " if thread in viewer else "decoder ") + name for _, thread, name, _ in window)
    by_name = {name: round(times / count, 2) for name, times in names.most_common(12)}
    return of_viewer / count, of_decoder / count, hop / count, by_name


def wakeups(stage, pids, seconds):
    """Times a second that each process came back from waiting."""
    members = {pid: threads(pid) for pid in pids}
    tracer = Strace(stage, pids)
    time.sleep(1)  # attaching itself interrupts what waits
    begin = time.time()
    time.sleep(seconds)
    end = time.time()
    calls = tracer.stop()
    waits = [thread for at, thread, name, _ in calls if name in WAITING and begin <= at <= end]
    return [sum(thread in members[pid] for thread in waits) / seconds for pid in pids]

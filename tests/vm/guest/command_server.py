# SPDX-License-Identifier: LGPL-2.1-or-later
"""PID 1 of the guest, or a service where systemd is that: does what the host asks for over a virtio port, one JSON object a line each way.

run     waits for a command and answers with its status and its output
start   starts a command, its output in a file; answers with its process id, and says later how it ended
write   sends text to the standard input of what was started with one
signal  sends a signal to the process group of what was started"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

PORT_NAME = "org.spice-overlay.test.control"
BASE = {"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}


def open_port():
    for name in pathlib.Path("/sys/class/virtio-ports").glob("*/name"):
        if name.read_text().strip() == PORT_NAME:
            return open(f"/dev/{name.parent.name}", "r+b", buffering=0)
    raise SystemExit(f"command server: no virtio port named {PORT_NAME}")


class Server:
    def __init__(self, port):
        self.port, self.writing, self.inputs = port, threading.Lock(), {}

    def say(self, **what):
        line = json.dumps(what).encode() + b"\n"
        with self.writing:
            while line:
                line = line[self.port.write(line) :]

    def popen(self, request, **streams):
        root, user, cgroup = request.get("root"), request.get("user"), request.get("cgroup")

        def become():
            if cgroup:  # where logind has a session's processes
                pathlib.Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))
            if root:
                os.chroot(root)
            os.chdir(request.get("cwd") or "/")
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)

        return subprocess.Popen(
            request["command"],
            env={**BASE, **request.get("environment", {})},
            preexec_fn=become,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, **streams},
        )

    def run(self, request):
        process = self.popen(request, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            out, _ = process.communicate(timeout=request["seconds"])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            out += b"\n(ended by the command server: it took too long)"
        self.say(id=request["id"], status=process.returncode, output=out.decode(errors="replace"))

    def start(self, request):
        stdin = subprocess.PIPE if request.get("stdin") else subprocess.DEVNULL
        with open(request["log"], "ab") as log:
            process = self.popen(request, stdin=stdin, stdout=log, stderr=log)
        self.inputs[process.pid] = process.stdin
        self.say(id=request["id"], pid=process.pid)
        self.say(ended=process.pid, status=process.wait())

    def write(self, request):
        stream = self.inputs[request["pid"]]
        stream.write(request["text"].encode())
        stream.flush()
        self.say(id=request["id"])

    def signal(self, request):
        try:
            os.killpg(request["pid"], request["signal"])
        except ProcessLookupError:
            pass
        self.say(id=request["id"])

    def serve(self, request):
        try:
            {"run": self.run, "start": self.start, "signal": self.signal, "write": self.write}[request["do"]](request)
        except Exception as problem:  # a command that cannot be run, say: the host is told, and the guest lives on
            self.say(id=request["id"], error=f"{type(problem).__name__}: {problem}")

    def loop(self):
        self.say(ready=True)
        rest = b""
        while True:
            piece = os.read(self.port.fileno(), 65536)
            if not piece:
                os.system("sync")
                os.execv("/usr/bin/busybox", ["busybox", "poweroff", "-f"])  # the host has gone
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                threading.Thread(target=self.serve, args=(json.loads(line),), daemon=True).start()


if __name__ == "__main__":
    sys.stdout.flush()
    Server(open_port()).loop()

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The agent on a real virtio port, in a guest under QEMU: it sleeps while nobody is behind the port, and finds it again.

usage: port_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import json
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "vm")]
import cases
import machine
import stage as staging
import staged
from cases import check

SECONDS = 30
guest = agent = None  # the Machine, and the agent in it


def sleeps():
    """How often the agent has gone to sleep so far."""
    status = guest.run("cat", f"/proc/{agent.pid}/status")
    return sum(map(int, re.findall(r"ctxt_switches:\s*(\d+)", status)))


def wait_for_quiet():
    last = [None, 0.0]

    def quiet():
        now = sleeps()
        if now != last[0]:
            last[:] = now, time.monotonic()
        return time.monotonic() - last[1] > 1

    staging.wait_for(quiet, SECONDS, "an agent that sleeps", every=0.2)


def port_is_open():
    # A descriptor may be closed while ls looks: it says so in its status, and lists the others.
    return "vport" in guest.run("ls", "-l", f"/proc/{agent.pid}/fd", check=False)


def wait_for_port(wanted):
    staging.wait_for(lambda: port_is_open() == wanted, SECONDS, lambda: f"the port to be open: {wanted}: {agent.tail()}")


def agent_sleeps_while_nobody_is_behind_the_port():
    wait_for_port(True)
    wait_for_quiet()
    before = sleeps()
    time.sleep(4)
    check(sleeps() == before, f"{sleeps() - before} wake-ups in 4 seconds")


def agent_speaks_when_a_client_comes_and_sleeps_when_it_goes():
    # A program that shows what comes through the port, and answers nothing.
    client = subprocess.Popen(
        [guest.stage.program("spice-overlay-port"), "hello", guest.uri, "--name", machine.VIDEO_PORT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        seen = b""
        deadline = time.monotonic() + SECONDS
        while b"SpiceOvl" not in seen:
            check(time.monotonic() < deadline, f"the agent did not say HELLO: {seen!r}")
            seen += client.stdout.read1(4096)
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()
    agent_sleeps_while_nobody_is_behind_the_port()


def agent_opens_a_port_that_was_unplugged_and_plugged_in_again():
    for _ in range(3):
        guest.qmp.command("device_del", id="video")
        wait_for_port(False)
        wait_for_quiet()
        before = sleeps()
        time.sleep(2)
        check(sleeps() == before, f"{sleeps() - before} wake-ups in 2 seconds without a port")
        guest.qmp.command(
            "device_add", driver="virtserialport", id="video", chardev="video", name=machine.VIDEO_PORT
        )
        wait_for_port(True)


def agent_ends_with_figures():
    agent.signal(15)
    check(agent.wait(SECONDS) == 0, agent.tail())
    figures = json.loads(guest.run("cat", "/host/tmp/agent.json"))
    check(figures["port_losses"] == 3, figures)


def set_up(stage, _):
    global guest, agent
    program = stage.program("spice-overlay-agentd")
    guest = machine.Machine(stage)
    words = "--sessions any --socket /tmp/agent.sock --verbose --stats /tmp/agent.json".split()
    agent = guest.start("agent", [program, *words], root="/host")


def main():
    staged.main("AgentPort", cases.named(sys.modules["__main__"], "agent_"), set_up)


if __name__ == "__main__":
    main()

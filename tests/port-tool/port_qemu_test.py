#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""spice-overlay-port on virtio ports of a real QEMU: its own other end and a stock spicy, and what only virtio does."""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("tools", "bench", "vm")]
import cases
import machine as machines
import meters
import stage as staging
from cases import Skip, check

SPICY_PORT = "org.spice.spicy"
VIDEO_PORT = machines.VIDEO_PORT


class Guest:
    """A machine with the ports of both names, and the program of this build in it."""

    def __init__(self, stage):
        self.stage = stage
        self.machine = machines.Machine(stage, memory="512M")
        self.machine.qmp.command(
            "chardev-add", id="spicy", backend={"type": "spiceport", "data": {"fqdn": SPICY_PORT}}
        )
        self.machine.qmp.command(
            "device_add", driver="virtserialport", id="spicyport", bus="serial.0", chardev="spicy", name=SPICY_PORT
        )
        staging.wait_for(lambda: self.machine.port_path(SPICY_PORT), 20, f"the guest's port {SPICY_PORT}")
        self.uri = self.machine.uri

    def program(self):
        return str(self.stage.program("spice-overlay-port"))

    def start(self, name, *words):
        """In the guest, where it lives in the host's root."""
        return self.machine.start(name, [self.program(), *words], root="/host")

    def client(self, *words, seconds=90):
        """(status, figures) of the program at the client's end."""
        process = self.stage.start(
            f"client-{words[0]}", ["spice-overlay-port", words[0], self.uri, "--json", "--quiet", *words[1:]],
            stdout=subprocess.PIPE,
        )
        out, _ = process.popen.communicate(timeout=seconds)
        return process.popen.returncode, json.loads(out or "{}") or {"messages": process.log()}


def last_json(process):
    return json.loads(process.log().strip().splitlines()[-1])


guest = None  # one for all cases: they leave it as they found it


# ---- cases


def hello_on_a_port_of_qemu_talks_with_a_stock_spicy_both_ways():
    for program in ("spicy", "xvfb-run"):
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")
    spicy = guest.stage.start(
        "spicy", ["xvfb-run", "-a", "spicy", f"--uri={guest.uri}", "--spice-disable-audio"], stdin=subprocess.PIPE
    )
    try:
        hello = guest.start("hello", "hello", SPICY_PORT, "--json", "--quiet")
        spicy.wait_log("hello from the guest", 60)
        spicy.popen.stdin.write(b"typed into spicy\n")
        spicy.popen.stdin.flush()
        check(hello.wait(30) == 0, hello.tail())
        figures = last_json(hello)
        check("typed into spicy" in figures["received_text"], f"{figures}")
    finally:
        spicy.stop()


def measured_from_the_client_a_virtio_port_loses_nothing():
    def sound(status, figures):
        # How fast it is says how busy this machine is; that the status repeats the verdict is the program's own.
        check(status == (0 if figures.get("good") else 4), f"{status} {figures}")

    echo = guest.start("echo", "echo", VIDEO_PORT, "--quiet")
    try:
        status, figures = guest.client("rtt", "--count", "300")
        sound(status, figures)
        check(figures["lost"] == 0 and figures["median_ms"] > 0, f"{figures}")
        print(f"    round trip: median {figures['median_ms']:.2f} ms, p95 {figures['p95_ms']:.2f} ms")
        status, figures = guest.client("throughput", "--duration", "3s")
        sound(status, figures)
        check(figures["lost"] == figures["broken"] == 0 and figures["guest_to_client_mbit"] > 1, f"{figures}")
        print(f"    guest to client {figures['guest_to_client_mbyte']:.0f} MB/s, client to guest "
              f"{figures['client_to_guest_mbyte']:.0f} MB/s: {figures['verdict']}")
        status, figures = guest.client("soak", "--duration", "4s")
        sound(status, figures)
        check(figures["lost_bytes"] == figures["corrupt_bytes"] == figures["reconnects"] == 0, f"{figures}")
        print(f"    soak: {figures['mbit']:.0f} Mbit/s each way, worst stall {figures['worst_stall_ms']:.0f} ms")
    finally:
        echo.stop()


def measured_from_the_guest_it_goes_on_when_the_client_dies_and_returns():
    answering = answer()
    soak = guest.start("soak", "soak", VIDEO_PORT, "--duration", "10s", "--json")
    soak.wait_log("the other end answers", 60)
    for _ in range(2):
        time.sleep(2)  # of load
        answering.popen.kill()
        answering.wait(5)
        time.sleep(0.5)  # so that the guest can know
        answering = answer()
    status = soak.wait(60)
    figures = last_json(soak)
    answering.stop()
    check(status == 4 and figures["reconnects"] == 2, f"{status} {figures}")
    check(figures["corrupt_bytes"] == 0 and figures["mbit_over_time"][-1] > 0, f"{figures}")


def answer():
    return guest.stage.start("answering", ["spice-overlay-port", "echo", guest.uri, "--quiet"])


def port_that_is_open_already_says_busy():
    first = guest.start("first", "echo", VIDEO_PORT, "--quiet")
    try:
        staging.wait_for(lambda: guest.machine.run("sh", "-c", f"ls -l /proc/{first.pid}/fd", check=False).count("vport"),
                         20, "the first one's port")
        second = guest.start("second", "echo", VIDEO_PORT)
        check(second.wait(20) == 1, second.tail())
        check("another program has the port open" in second.log(), second.log())
    finally:
        first.stop()


def port_of_another_name_is_answered_with_those_of_the_guest():
    process = guest.start("wrong", "rtt", "org.no.such.port")
    check(process.wait(20) == 1, process.tail())
    check(VIDEO_PORT in process.log() and SPICY_PORT in process.log(), process.log())


def without_a_client_the_guest_waits_and_costs_nothing():
    waiting = guest.start("waiting", "rtt", VIDEO_PORT, "--timeout", "6s")
    waiting.wait_log("waiting for a client that opens the port", 20)

    def ticks():
        fields = guest.machine.run("cat", f"/proc/{waiting.pid}/stat").rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(2)
    used = ticks() - before
    check(used <= 20, f"{used / 100} s of CPU in 2 s of waiting")
    check(waiting.wait(20) == 3 and "nobody answers" in waiting.log(), waiting.tail())


def main():
    global guest
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=str(ROOT / "build"))
    options, rest = parser.parse_known_args()
    prefixes = ("hello_", "measured_", "port_", "without_")
    found = cases.named(sys.modules["__main__"], *prefixes)
    with staging.Stage(options.build) as stage:

        def guarded(name, function):
            def run():
                global guest
                try:
                    # Booted once, even in vain.
                    first, guest = guest is None, guest or staging.Missing("the guest did not start")
                    guest = Guest(stage) if first else guest
                    if isinstance(guest, staging.Missing):
                        raise guest
                    function()
                except staging.Missing as problem:
                    raise Skip(str(problem)) from None

            return name, run

        cases.main("PortQemu", [guarded(*case) for case in found], rest)


if __name__ == "__main__":
    main()

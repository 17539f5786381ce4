#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""spice-overlay-port at both ends of a port of the real libspice-server, and against a stock spicy."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/bench")]
import cases
import meters
import stage as staging
from cases import Skip, check

SCENE = ROOT / "tests/host/scenes/idle.scene"
build = None


class Port(staging.Host):
    """The host's port, its ends as arguments of the program."""

    def __init__(self, stage, *options):
        super().__init__(stage, SCENE, "--start-on", "now", *options)
        self.ends = {"guest": str(self.port), "client": self.uri}


def other(end):
    return "client" if end == "guest" else "guest"


def tool(stage, name, *words, **streams):
    """Starts the program; its standard output and error come to separate places."""
    return stage.start(name, ["spice-overlay-port", *words], stdout=subprocess.PIPE, **streams)


def result(process, seconds=60):
    """(status, its JSON)."""
    out, _ = process.popen.communicate(timeout=seconds)
    try:
        return process.popen.returncode, json.loads(out)
    except json.JSONDecodeError:
        return process.popen.returncode, {"output": out.decode(), "messages": process.log()}


def measure(stage, end, target, command, *options, seconds=60):
    return result(tool(stage, f"{command}-{end}", command, target, "--json", "--quiet", *options), seconds)


def echo(stage, target, *options):
    return tool(stage, "echo", "echo", target, "--json", "--quiet", *options)


def both_ends():
    with staging.Stage(build) as stage:
        port = Port(stage)
        for end in port.ends:
            answering = echo(stage, port.ends[other(end)])
            yield stage, end, port.ends[end]
            answering.stop()


# ---- cases


def rtt_counts_and_judges_from_either_end():
    for stage, end, target in both_ends():
        status, figures = measure(stage, end, target, "rtt", "--count", 300)
        check(status == 0 and figures["good"], f"{end}: {status} {figures}")
        check(figures["round_trips"] == 300 and figures["lost"] == 0, f"{end}: {figures}")
        check(0 < figures["min_ms"] <= figures["median_ms"] <= figures["p95_ms"] <= figures["max_ms"], f"{end}: {figures}")
        check("quick enough" in figures["verdict"] or "usable" in figures["verdict"], f"{end}: {figures}")


def throughput_fills_both_directions_from_either_end():
    for stage, end, target in both_ends():
        status, figures = measure(stage, end, target, "throughput", "--duration", "1s")
        check(status == 0, f"{end}: {status} {figures}")
        check(figures["lost"] == 0 and figures["broken"] == 0, f"{end}: {figures}")
        for way in ("guest_to_client_mbit", "client_to_guest_mbit"):
            check(figures[way] > 100, f"{end}: {way} {figures}")  # thousands on an idle machine
        check(f"fast enough for {figures['video_mbit']:.0f} Mbit/s of video" in figures["verdict"], f"{figures}")
        check(figures["video_mbit"] <= figures["guest_to_client_mbit"] / 4, f"{figures}")


def soak_of_a_sound_port_loses_nothing_from_either_end():
    for stage, end, target in both_ends():
        status, figures = measure(stage, end, target, "soak", "--duration", "2s")
        check(figures["lost_bytes"] == figures["corrupt_bytes"] == figures["unexpected"] == 0, f"{end}: {figures}")
        check(figures["bytes"] > 1_000_000 and figures["frames"] > 100 and figures["mbit_over_time"], f"{end}: {figures}")
        check(status == 0 or figures["worst_stall_ms"] > 1000, f"{end}: {status} {figures}")  # a machine that is very busy


def pty_stands_for_a_device():
    with staging.Stage(build) as stage:
        link = stage.path("pty")
        host = PtyHost(stage, link)
        answering = echo(stage, link)
        status, figures = measure(stage, "client", host.uri, "soak", "--duration", "1s")
        check(figures.get("lost_bytes") == 0 and figures["bytes"] > 100_000, f"{status} {figures}")
        answering.stop()


class PtyHost:
    """A host whose port is a pty and not a socket."""

    def __init__(self, stage, link):
        spice = stage.path("spice")
        self.uri = f"spice+unix://{spice}"
        self.process = stage.start(
            "host", ["spice-overlay-host", "--scene", SCENE, "--unix", spice, "--port-pty", link, "--start-on", "now"]
        )
        self.process.wait_log("ready on")


def echo_sends_text_back():
    with staging.Stage(build) as stage:
        port = Port(stage)
        answering = echo(stage, port.ends["guest"])
        typed = tool(stage, "hello", "hello", port.uri, "--json", "--quiet", stdin=subprocess.PIPE)
        typed.popen.stdin.write(b"Gr\xc3\xbc\xc3\x9fe\n")
        status, figures = result(typed)
        check(status == 0 and figures["received_text"].endswith("Grüße\n"), f"{status} {figures}")
        answering.popen.send_signal(signal.SIGTERM)
        status, figures = result(answering)
        check(status == 0 and figures["stray_bytes"] > 8, f"{status} {figures}")


def hello_reaches_hello():
    with staging.Stage(build) as stage:
        port = Port(stage)
        client = tool(stage, "client", "hello", port.uri, "--json")
        guest = tool(stage, "guest", "hello", port.ends["guest"], "--json")
        for process, peer in ((client, "guest"), (guest, "client")):
            status, figures = result(process, 20)
            check(status == 0 and f"hello from the {peer}" in figures["received_text"], f"{status} {figures}")
            check(figures["verdict"] == "works: text both ways", f"{figures}")


def hello_talks_with_a_stock_spicy():
    for program in ("spicy", "xvfb-run"):
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")
    with staging.Stage(build) as stage:
        port = Port(stage, "--port-name", "org.spice.spicy")
        spicy = stage.start(
            "spicy",
            ["xvfb-run", "-a", "spicy", f"--uri={port.uri}", "--spice-disable-audio"],
            stdin=subprocess.PIPE,
        )
        hello = tool(stage, "hello", "hello", port.ends["guest"], "--json", "--quiet")
        spicy.wait_log("hello from the guest", 30)
        spicy.popen.stdin.write(b"typed into spicy\n")
        spicy.popen.stdin.flush()
        status, figures = result(hello, 20)
        check(status == 0 and "typed into spicy" in figures["received_text"], f"{status} {figures}")


HOSTILE = b"\x1b]0;owned\x07 \xc2\x9b31m \x9b2J \xe0\x82\x9b1m \xff \xed\xa0\x80 end\n"
FRIENDLY = "plain \u00e9 \u20ac \U0001f642 \u011b\n"


def said_by_hello(options, locale, more=""):
    """What the program says when HOSTILE, FRIENDLY, byte by byte, and `more` come."""
    with staging.Stage(build) as stage:
        port = Port(stage)
        hello = tool(stage, "hello", "hello", port.uri, "--quiet", *options, environment={"LC_ALL": locale})
        guest = connect(port.ends["guest"])
        guest.sendall(HOSTILE)
        for byte in FRIENDLY.encode():
            time.sleep(0.01)  # so that each comes alone
            guest.sendall(bytes([byte]))
        guest.sendall(more.encode())
        out, _ = hello.popen.communicate(timeout=20)
        return out


def hello_lets_nobody_steer_the_terminal():
    for locale in ("C.UTF-8", "C"):
        out = said_by_hello([], locale)
        check(not any(byte < 0x20 and byte not in b"\n\t" or byte == 0x7F for byte in out), f"{locale}: {out}")
        if locale == "C":  # the terminal may take any byte from 0x80 on for a control
            check(max(out) < 0x80 and b"plain ? ? ? ?\n" in out, f"{out}")
        else:
            text = out.decode(errors="replace")
            check("\ufffd" not in text and FRIENDLY in text and not any("\x80" <= c <= "\x9f" for c in text), f"{text!r}")
        check(b"31m" in out and b"end\n" in out, f"{locale}: what steers nothing is missing: {out}")


def hello_reports_text_that_json_can_hold():
    figures = json.loads(said_by_hello(["--json"], "C"))
    check(FRIENDLY in figures["received_text"] and "?31m" in figures["received_text"], f"{figures}")
    check(figures["received_bytes"] == len(HOSTILE) + len(FRIENDLY.encode()), f"{figures}")
    for begin in ("", "."):  # more than is kept: cut off between two characters
        text = json.loads(said_by_hello(["--json"], "C", begin + "\u00e9" * 40_000))["received_text"]
        check(65_000 < len(text.encode()) <= 65_536 and text.endswith("\u00e9"), f"{len(text)}: {text[-20:]}")


def soak_goes_on_when_the_other_end_comes_back_and_says_so():
    for end in ("guest", "client"):
        with staging.Stage(build) as stage:
            port = Port(stage)
            answering = echo(stage, port.ends[other(end)])
            running = tool(stage, "soak", "soak", port.ends[end], "--json", "--duration", "4s")
            running.wait_log("the other end answers", 20)
            for n in (1, 2):
                time.sleep(0.5)  # of load
                answering.popen.kill()
                answering.wait(5)
                answering = echo(stage, port.ends[other(end)])
                if end == "client":
                    running.wait_log(f"reconnect {n}", 20)
            status, figures = result(running)
            check(status == 4, f"{end}: {status} {figures}")
            if end == "client":
                check(figures["reconnects"] == 2 and "lost 2 times" in figures["verdict"], f"{figures}")
            # A unix socket in the guest tells nothing of its client: there the loss shows as loss.
            check(figures["corrupt_bytes"] == 0 or end == "guest", f"{end}: {figures}")
            check(figures["bytes"] > 1_000_000 and figures["mbit_over_time"][-1] > 0, f"{end}: {figures}")


def client_connects_again_when_the_server_restarts():
    with staging.Stage(build) as stage:
        spice, socket_path = stage.path("spice"), stage.path("port")

        def host():
            for path in (spice, socket_path):
                path.unlink(missing_ok=True)
            process = stage.start("host", ["spice-overlay-host", "--scene", SCENE, "--unix", spice, "--port-socket",
                                           socket_path, "--start-on", "now"])
            process.wait_log("ready on")
            return process

        first = host()
        answering = echo(stage, socket_path)
        running = tool(stage, "soak", "soak", f"spice+unix://{spice}", "--json", "--duration", "5s")
        running.wait_log("the other end answers", 20)
        time.sleep(1)  # of load
        first.stop()
        host()
        status, figures = result(running)
        check(status == 4 and figures["reconnects"] == 1, f"{status} {figures}; echo: {answering.log()}")
        check(figures["mbit_over_time"][-1] > 0, f"{figures}")


def soak_sees_a_stall():
    with staging.Stage(build) as stage:
        port = Port(stage)
        answering = echo(stage, port.ends["guest"])
        running = tool(stage, "soak", "soak", port.uri, "--json", "--duration", "4s")
        running.wait_log("the other end answers", 20)
        time.sleep(1)  # of load
        answering.popen.send_signal(signal.SIGSTOP)
        time.sleep(1.7)
        answering.popen.send_signal(signal.SIGCONT)
        status, figures = result(running)
        check(status == 4 and "stood still" in figures["verdict"], f"{status} {figures}")
        check(figures["worst_stall_ms"] > 1500, f"{figures}")
        check(figures["lost_bytes"] == 0 and figures["reconnects"] == 0, f"{figures}")


class Wire:
    """Between the program in the guest and the port: passes bytes on, and damages what goes to the guest as told."""

    def __init__(self, stage, port, damage):
        self.path = stage.path("wire")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(1)
        self.port, self.damage = port, damage
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        program, _ = self.listener.accept()
        port = connect(self.port)
        threading.Thread(target=self.copy, args=(program, port, lambda piece, _: piece), daemon=True).start()
        self.copy(port, program, self.damage)

    @staticmethod
    def copy(source, target, change):
        total = 0
        while piece := source.recv(65536):
            total += len(piece)
            try:
                target.sendall(change(piece, total))
            except OSError:
                return


def once_behind(offset, change):
    done = []

    def damage(piece, total):
        if total < offset or done:
            return piece
        done.append(True)
        return change(piece)

    return damage


def run_soak_through(damage):
    with staging.Stage(build) as stage:
        port = Port(stage)
        wire = Wire(stage, port.ends["guest"], damage)
        answering = echo(stage, wire.path)
        status, figures = measure(stage, "client", port.uri, "soak", "--duration", "2s")
        answering.stop()
        return status, figures


def soak_sees_one_wrong_bit():
    status, figures = run_soak_through(once_behind(1_000_000, lambda piece: bytes([piece[0] ^ 4]) + piece[1:]))
    check(status == 4 and "lost or corrupt" in figures["verdict"], f"{status} {figures}")
    check(0 < figures["lost_bytes"] <= 2 * 32768, f"{figures}")
    check(figures["corrupt_bytes"] > 0, f"{figures}")  # echo has sent back what it could not read
    check(figures["reconnects"] == 0, f"{figures}")


def soak_sees_one_lost_byte_and_finds_its_place_again():
    status, figures = run_soak_through(once_behind(1_000_000, lambda piece: piece[:-1]))
    check(status == 4 and figures["lost_bytes"] > 0, f"{status} {figures}")
    check(figures["mbit_over_time"][-1] > 0, f"{figures}")


def soak_of_a_wire_without_damage_sees_none():
    status, figures = run_soak_through(lambda piece, _: piece)
    check(figures["lost_bytes"] == figures["corrupt_bytes"] == 0 and figures["bytes"] > 1_000_000, f"{status} {figures}")


def garbage_before_a_measurement_does_not_matter():
    with staging.Stage(build) as stage:
        port = Port(stage)
        answering = echo(stage, port.uri)
        guest = connect(port.ends["guest"])
        guest.sendall(os.urandom(200_000) + b"\xf5SOP\x01\x01\xff\x7f")
        guest.close()
        status, figures = measure(stage, "guest", port.ends["guest"], "rtt", "--count", 20)
        check(status == 0 and figures["lost"] == 0, f"{status} {figures}; echo: {answering.log()}")


def nobody_at_the_other_end_is_said_and_has_a_status():
    with staging.Stage(build) as stage:
        port = Port(stage)
        client = tool(stage, "rtt", "rtt", port.uri, "--timeout", "2s")
        check(client.wait(20) == 3, client.tail())
        check("waiting for a program in the guest that opens the port" in client.log(), client.log())
        check("nobody answers" in client.log(), client.log())
        guest = tool(stage, "rtt", "rtt", port.ends["guest"], "--timeout", "2s")
        check(guest.wait(20) == 3, guest.tail())
        check("let the other end run spice-overlay-port echo" in guest.log(), guest.log())


def port_that_does_not_exist_is_answered_with_those_that_do():
    with staging.Stage(build) as stage:
        port = Port(stage, "--port-name", "org.site.films")
        client = tool(stage, "rtt", "rtt", port.uri, "--name", "org.site.film", "--timeout", "3s")
        check(client.wait(20) == 3, client.tail())
        check("a port named org.site.film" in client.log() and "org.site.films" in client.log(), client.log())


def connection_file_is_taken_as_the_viewer_takes_it():
    with staging.Stage(build) as stage:
        port = Port(stage)
        answering = echo(stage, port.ends["guest"])
        file = stage.path("desk.vv")
        file.write_text(f"[virt-viewer]\ntype=spice\nunix-path={port.spice}\n")
        status, figures = measure(stage, "client", file, "rtt", "--count", 20)
        check(status == 0 and figures["connection"] == str(file), f"{status} {figures}; echo: {answering.log()}")


def wrong_words_have_a_status_and_a_message():
    with staging.Stage(build) as stage:
        empty = stage.path("empty.vv")
        empty.write_text("[virt-viewer]\ntype=vnc\n")
        plain = stage.path("plain")
        plain.write_text("")
        table = [
            (["sing"], 2, "sing is no command"),
            ([], 2, "give a command"),
            (["rtt", "--count", "0"], 2, "--count: it takes"),
            (["rtt", "--size", "27"], 2, "--size: it takes"),
            (["soak", "--duration", "5y"], 2, "is not a time"),
            (["rtt", "--timeout"], 2, "wants a value"),
            (["rtt", "--fast"], 2, "unknown option --fast"),
            (["rtt", "org.no.such.port"], 1, "no virtio port of this name"),
            (["rtt", "/dev/virtio-ports/none"], 1, "there is no such port"),
            (["rtt", str(plain)], 1, "is not a port"),
            (["rtt", "http://localhost"], 1, "write spice://HOST:PORT"),
            (["rtt", "spice+unix:///nowhere/at/all"], 1, "cannot connect"),
            (["rtt", str(empty)], 1, "no SPICE connection file"),
        ]
        for words, status, message in table:
            process = tool(stage, "wrong", *words)
            check(process.wait(20) == status, f"{words}: {process.popen.returncode} {process.tail()}")
            check(message in process.log(), f"{words}: {process.log()}")


def no_permission_is_said_with_what_to_do():
    if os.getuid() != 0:
        raise Skip("needs root, to be somebody else")
    with staging.Stage(build) as stage:
        stage.run_dir.chmod(0o755)
        link = stage.path("pty")
        PtyHost(stage, link)
        os.chmod(link, 0o600)
        program = stage.path("tool")  # a copy, since the build folder may be closed to others
        shutil.copy(stage.program("spice-overlay-port"), program)
        done = subprocess.run([str(program), "rtt", str(link)], user=65534, group=65534, extra_groups=[],
                              capture_output=True, text=True, timeout=20)
        check(done.returncode == 1 and "no permission" in done.stderr and "udev rule" in done.stderr, done.stderr)


def waiting_costs_nothing():
    with staging.Stage(build) as stage:
        port = Port(stage)
        for end, target in port.ends.items():
            waiting = echo(stage, target)
            time.sleep(1)  # it has started by then
            before = meters.cpu_seconds(waiting.pid)
            time.sleep(2)
            used = meters.cpu_seconds(waiting.pid) - before
            check(waiting.alive and used <= 0.1, f"{end}: {used} s of CPU in 2 s of waiting")
            waiting.stop()


def signal_ends_a_soak_with_its_figures():
    with staging.Stage(build) as stage:
        port = Port(stage)
        echo(stage, port.ends["guest"])
        running = tool(stage, "soak", "soak", port.uri, "--json", "--duration", "1h")
        running.wait_log("the other end answers", 20)
        time.sleep(1.5)  # of load
        running.popen.send_signal(signal.SIGINT)
        _, figures = result(running, 10)
        check(figures.get("bytes", 0) > 0 and "ended by a signal" in figures["verdict"], f"{figures}")


def connect(path):
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(20)
    end.connect(str(path))
    return end


def main():
    global build
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=str(ROOT / "build"))
    options, rest = parser.parse_known_args()
    build = options.build

    def guarded(name, function):
        def run():
            try:
                function()
            except staging.Missing as problem:
                raise Skip(str(problem)) from None

        return name, run

    prefixes = ("rtt_", "throughput_", "soak_", "pty_", "echo_", "hello_", "client_", "garbage_", "nobody_", "port_",
                "connection_", "wrong_", "no_permission_", "waiting_", "signal_")
    cases.main("PortTool", [guarded(*case) for case in cases.named(sys.modules["__main__"], *prefixes)], rest)


if __name__ == "__main__":
    main()

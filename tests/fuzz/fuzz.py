#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs fuzz targets one after the other, says how far they are, and what was done in a table at the end.

usage: fuzz.py --build DIR [--runs N] [--seconds N] [--seed N] TARGET...
       fuzz.py --build DIR --table

Each target ends after so many executions or seconds, whichever comes first. What it learns stays in DIR/corpus; an input that breaks
something lies in DIR/findings, and the status is 1. Fewer executions than asked for are status 77, with how many in the last line. --table shows what the last `meson test --suite fuzz` in DIR has done.
"""

import argparse
import json
import os
import pathlib
import random
import re
import selectors
import subprocess
import sys
import time

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
# What is short in these targets is done often; the others are told apart by how often they do a thing, too.
SHORT = ["-max_len=64", "-use_counters=0"]
LONG = ["-max_len=1024", "-len_control=20"]
SHORT_TARGETS = ("messages", "deframer", "boxes", "slots", "session", "sender", "relay", "desktop", "image")
# Weighing inputs by the rarity of what they reach, looking for a shorter one that does the same and long stacks of each allocation cost more
# than most inputs: a finding run by hand has them.
COMMON = ["-entropic=0", "-reduce_inputs=0", "-timeout=20", "-print_final_stats=1"]
SANITIZERS = {
    # What is freed is kept for longer than any execution takes, and in the processor's own memory; what is handed out is not filled.
    "ASAN_OPTIONS": "malloc_context_size=0:quarantine_size_mb=1:max_malloc_fill_size=0:allocator_release_to_os_interval_ms=1000",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
BROKEN, SKIPPED = 1, 77  # statuses; Meson's for a test that was not done
HEADING = f"{'target':16}{'executions':>14}{'seconds':>9}{'a second':>10}{'edges':>7}  seed"


class Run:
    """One target from its beginning to its end."""

    def __init__(self, build, target, runs, seconds, seed):
        self.target = target
        self.seed = seed
        self.executions = 0
        self.edges = 0
        self.seconds = 0.0
        self.tail = []
        findings = build / "findings"
        learnt = build / "corpus" / target
        findings.mkdir(parents=True, exist_ok=True)
        learnt.mkdir(parents=True, exist_ok=True)
        self.command = [
            str(build / "tests/fuzz" / f"fuzz-{target}"),
            *COMMON,
            *(SHORT if target in SHORT_TARGETS else LONG),
            f"-seed={seed}",
            f"-artifact_prefix={findings}/{target}-",
        ]
        if runs:
            self.command.append(f"-runs={runs}")
        self.wanted = runs
        if seconds:
            self.command.append(f"-max_total_time={seconds}")
        if target == "decoder-replies":  # its standard error is the decoder's log, not the fuzzer's
            self.command.append("-close_fd_mask=2")
        self.command += [str(learnt), str(CORPUS / target)]

    def run(self, progress):
        began = time.monotonic()
        said = began
        process = subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **SANITIZERS},
        )
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            kept = b""
            while True:
                if selector.select(timeout=1):
                    some = os.read(process.stderr.fileno(), 65536)
                    if not some:
                        break
                    *lines, kept = (kept + some).split(b"\n")
                    for line in lines:
                        self.read(line.decode(errors="replace"))
                if progress and time.monotonic() - said >= 10:
                    said = time.monotonic()
                    print(f"  {said - began:5.0f} s: more than {self.executions:,} executions, {self.edges} edges", flush=True)
        self.seconds = time.monotonic() - began
        return process.wait() == 0

    def read(self, line):
        self.tail = [*self.tail[-60:], line]
        if found := re.match(r"#(\d+)\s", line):
            self.executions = int(found[1])
        if found := re.search(r"\bcov: (\d+)", line):
            self.edges = int(found[1])
        if found := re.match(r"stat::number_of_executed_units:\s*(\d+)", line):
            self.executions = int(found[1])

    def row(self):
        rate = self.executions / max(self.seconds, 0.001)
        return f"{self.target:16}{self.executions:>14,}{self.seconds:>9.0f}{rate:>10,.0f}{self.edges:>7}  {self.seed}"


def table_of_tests(build):
    """The rows of the tests that ran last, of which each has printed its own."""
    print(HEADING)
    for line in (build / "meson-logs/testlog.json").read_text().splitlines():
        test = json.loads(line)
        rows = (test.get("stdout") or "").strip().splitlines()
        print(rows[-1] if rows else f"{test['name']}: {test['result'].lower()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="0: by chance")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("targets", nargs="*")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    if arguments.table:
        table_of_tests(build)
        return 0
    rows = []
    short = []
    broken = False
    for target in arguments.targets:
        run = Run(build, target, arguments.runs, arguments.seconds, arguments.seed or random.randrange(1, 2**31))
        print(f"== {target}, seed {run.seed}", flush=True)
        if not run.run(progress=True):
            broken = True
            print("\n".join(run.tail))
            print(f"{target}: broken. {run.command[0]} FILE, with a file of {build}/findings, does it again", flush=True)
        rows.append(run.row())
        if run.executions < run.wanted:
            short.append(f"{target}: {run.executions:,} of {run.wanted:,} executions in {arguments.seconds} s")
    print(HEADING)
    print("\n".join(rows))
    if short and not broken:
        print("; ".join(short))
    return BROKEN if broken else SKIPPED if short else 0


if __name__ == "__main__":
    sys.exit(main())

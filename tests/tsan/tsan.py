#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs what drives viewer and decoder in a build with ThreadSanitizer, and shows each race that a process of ours reports, once. Status 1: there
are some; 2: it cannot be run, or nothing has; 3: no race, but cases failed, and not for a reason in cases.txt, such as that they measure time.

usage: tsan.py --build DIR [--out DIR] [TEST...]"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Programs by the folder that they are built in. Left out is what kills decoders by the thousand: a report takes a process that lives.
PROGRAMS = {
    "glib-sources-test": "widget",
    "stale-test": "widget",
    "present-test": "present",
    "dmabuf-memory-test": "dmabuf",
    "hostile-decoder-test": "dmabuf",
    "decoder-pictures-test": "dmabuf",
    "decoder-behaviour-test": "dmabuf",
    "guestlib-test": "guestlib",
    "guestlib-units-test": "guestlib",
}
SCRIPTS = ("scenes", "motion", "bad_input", "pictures", "scaling", "pointer", "chrome", "dmabuf", "doctor", "hud", "containment", "stale")
DRIVEN = ("spice-overlay-viewer", "spice-overlay-decoder")
TEST_SECONDS = 3600
SLOWER = 5  # than without ThreadSanitizer, at least
RANDOM_BITS = 28  # of addresses, beyond which ThreadSanitizer of GCC 12 and 13 finds its own memory taken


def without_random_addresses():
    """What to begin a command with where the kernel places memory more at random than ThreadSanitizer can stand."""
    bits = pathlib.Path("/proc/sys/vm/mmap_rnd_bits")
    try:
        many = int(bits.read_text()) > RANDOM_BITS
    except (OSError, ValueError):
        return []
    return ["setarch", "-R"] if many and shutil.which("setarch") else []


# What stands between code and its access: TSan's own functions, and those of the C and C++ libraries that it takes the place of.
BETWEEN = ("libtsan.so", "libc.so", "libstdc++.so", "libpthread.so", "ld-linux")
# Paragraphs of a report that say where something comes from, and not who did what.
ORIGINS = re.compile(r"\s*(Location is|Thread T\d+|Mutex M\d+ \(.*\) created|As if synchronized|Hint:)")
FRAME = re.compile(r"\s*#\d+ .*\(([^()+]+)\+0x[0-9a-f]+\)")


def actors(report):
    """The module of each access (or lock) that a report is about: program or library by its file's name, "" where the stack was not kept."""
    found = []
    for paragraph in report.split("\n\n"):
        lines = paragraph.splitlines()
        if ORIGINS.match(lines[0]) or not any("#0" in line or "failed to restore" in line for line in lines):
            continue
        modules = (pathlib.Path(match[1]).name for match in map(FRAME.match, lines) if match)
        found.append(next((module for module in modules if not module.startswith(BETWEEN)), ""))
    return found


def reasons(table):
    """Beginning of a name -> why, from a table in this folder."""
    lines = (ROOT / "tests/tsan" / table).read_text().splitlines()
    return dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))


def libraries():
    """Beginnings of names, from libraries.txt."""
    return tuple(reasons("libraries.txt"))


def failed_cases(log):
    """Names of the cases that failed, from what a test printed."""
    return sorted(set(re.findall(r"^\[ +FAILED +\] (\w+(?:/\w+)?\.[^\s,]+)", log, re.M)))


def excuse(case, known):
    """Why the case may fail; None: it may not."""
    return next((why for name, why in known.items() if case.startswith(name)), None)


def is_a_librarys(report, names):
    """Whether nobody but the named libraries did what it is about: all accesses that are known, and at least one, are theirs."""
    known = [actor for actor in actors(report) if actor]
    return bool(known) and all(actor.startswith(names) for actor in known)


class Reports:
    """What processes wrote into a folder, each into a file of its own: they may have no terminal, or be killed."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def environment(self):
        # No suppressions: called_from_lib hides the locks that a library takes too, and makes races of what they order. exitcode: a test's
        # verdict is its own.
        words = {"log_path": self.folder / "report", "log_exe_name": 1, "verbosity": 1, "second_deadlock_stack": 1, "exitcode": 0}
        return {
            **os.environ,
            "TSAN_OPTIONS": ":".join(f"{name}={value}" for name, value in words.items()),
            "G_SLICE": "always-malloc",  # its blocks change threads by locks that nobody sees
            "SPICE_OVERLAY_PATIENCE": str(SLOWER),
        }

    def sort(self):
        """(ours, libraries'): each kind and place -> [whole text of one, how many, names of files]."""
        ours, others, names = {}, {}, libraries()
        for file in sorted(self.folder.iterdir()):
            for text in re.findall(r"^WARNING: ThreadSanitizer:.*?^SUMMARY: .*?$", file.read_text(errors="replace"), re.M | re.S):
                kinds = others if is_a_librarys(text, names) else ours
                kind = kinds.setdefault(text.rsplit("SUMMARY: ", 1)[1].strip(), [text, 0, set()])
                kind[1] += 1
                kind[2].add(file.name)
        return ours, others

    def processes(self):
        """Program -> how many of it have run under ThreadSanitizer: with verbosity each says so."""
        return collections.Counter(file.name.split(".")[1] for file in self.folder.iterdir())

    def fatal(self):
        """Lines of those that could not even begin."""
        texts = (file.read_text(errors="replace") for file in sorted(self.folder.iterdir()))
        return [line for text in texts for line in text.splitlines() if "FATAL: ThreadSanitizer" in line]


def tries_itself(options, start):
    """Whether a race planted for it is reported; else the text of why this is no use."""
    program = options.build / "tests/tsan/tsan-race"
    if not program.exists():
        return f"{program} is not there: not a build with -Db_sanitize=thread"
    reports = Reports(options.out / "itself")
    done = subprocess.run([*start, program], env=reports.environment(), capture_output=True, text=True, timeout=120)
    if not reports.sort()[0]:
        return f"a planted race was not reported: {' '.join([*reports.fatal(), done.stderr.strip()]) or 'nothing was said'}"
    return None


def commands(build):
    """Name of a test -> its command."""
    found = {name: [sys.executable, ROOT / f"tests/wayland/{name}_test.py", "--build", build] for name in SCRIPTS}
    return found | {name: [build / "tests" / folder / name] for name, folder in PROGRAMS.items()}


def run_tests(tests, options, start, reports):
    """The cases that failed, or the test itself where it does not say which."""
    failed = []
    for name, command in tests.items():
        log, begun, before = options.out / f"{name}.log", time.monotonic(), len(reports.sort()[0])
        try:
            with open(log, "wb") as out:
                words = [str(word) for word in (*start, *command)]
                status = subprocess.run(words, env=reports.environment(), stdout=out, stderr=out, timeout=TEST_SECONDS).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            status = str(error)
        outcome = {0: "passed", 77: "skipped"}.get(status, f"failed ({status})")
        if outcome.startswith("failed"):
            failed += failed_cases(log.read_text(errors="replace")) or [name]
        more = len(reports.sort()[0]) - before
        print(f"{name}: {outcome}, {time.monotonic() - begun:.0f} s{f', {more} NEW KINDS OF REPORTS' if more else ''}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(prog="./run tsan", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tsan-out"), metavar="DIR", help="where reports and logs go (default: tsan-out)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-tsan", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", metavar="TEST", help=f"of: {' '.join([*SCRIPTS, *PROGRAMS])} (default: all)")
    options = parser.parse_args()
    options.build, options.out = options.build.resolve(), options.out.resolve()
    known = commands(options.build)
    unknown = [name for name in options.tests if name not in known]
    if unknown:
        parser.error(f"no test '{unknown[0]}'")

    start = without_random_addresses()
    trouble = tries_itself(options, start)
    if trouble:
        print(f"tsan: {trouble}", file=sys.stderr)
        return 2
    reports = Reports(options.out / "reports")
    failed = run_tests({name: known[name] for name in options.tests or known}, options, start, reports)
    (ours, others), fatal, processes = reports.sort(), reports.fatal(), reports.processes()
    for text, count, files in ours.values():
        print(f"\n== {count} times, in {', '.join(sorted(files))}:\n{text}")
    print("".join(f"{line}\n" for line in fatal), end="")
    total, of_libraries = (sum(count for _, count, _ in kinds.values()) for kinds in (ours, others))
    print(f"\nUnder ThreadSanitizer: {', '.join(f'{count} {name}' for name, count in processes.most_common()) or 'nothing'}")
    excuses = {case: excuse(case, reasons("cases.txt")) for case in failed}
    unexplained = [case for case, why in excuses.items() if not why]
    print("".join(f"Failed, as it may here: {case}: {why}\n" for case, why in excuses.items() if why), end="")
    print("".join(f"FAILED, for no reason that is known: {case}\n" for case in unexplained), end="")
    print(f"Logs and reports: {options.out}; {of_libraries} reports of what libraries do among themselves (tests/tsan/libraries.txt)")
    whole = options.tests or all(processes[name] for name in DRIVEN)
    verdict = f"{total} reports of our own code, of {len(ours)} kinds" if ours or fatal else "no race of our own code"
    print(f"ThreadSanitizer: {verdict}; {len(unexplained)} cases failed that should not, {len(failed) - len(unexplained)} that may")
    if ours or fatal:
        return 1
    if not whole:
        print("tsan: the viewer or the decoder has not run", file=sys.stderr)
        return 2
    return 3 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())

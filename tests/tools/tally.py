#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Adds up what the test runs really did, and says it in one closing line.

usage: tally.py BUILD_DIR RESULTS_DIR [BUILD_DIR RESULTS_DIR ...]

BUILD_DIR/meson-logs/testlog.json says how each Meson test ended; RESULTS_DIR holds the XML that GoogleTest programs
(and tests/tools/cases.py) write under GTEST_OUTPUT, one file per program, from which single cases are counted. A
Meson test without such a file counts as one. A run that left no log counts as one failure.
"""

import json
import pathlib
import re
import sys
import xml.etree.ElementTree as xml


MOST_OF_A_REASON = 600  # characters


def _in_one_line(reason):
    """Both ends of it, where it is long: what was waited for comes first, what programs said last."""
    line = " ".join((reason or "no reason given").split())
    half = MOST_OF_A_REASON // 2
    return line if len(line) <= MOST_OF_A_REASON else f"{line[:half]} ... {line[-half:]}"


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add_cases(self, file):
        for case in xml.parse(file).getroot().iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            skip = case.find("skipped")
            failure = next((found for found in map(case.find, ("failure", "error")) if found is not None), None)
            if failure is not None:
                self.failed.append(f"{name}: {_in_one_line(failure.get('message'))}")
            elif skip is not None or case.get("result") == "skipped":
                self.skipped.append(f"{name}: {_in_one_line(skip is not None and skip.get('message'))}")
            elif case.get("status") == "run":  # a disabled or filtered case is "notrun"
                self.passed += 1

    def add_run(self, build, results):
        log = pathlib.Path(build) / "meson-logs/testlog.json"
        if not log.exists():
            self.failed.append(f"{build}: the test run left no log")
            return
        reports = {}
        for file in sorted(pathlib.Path(results).glob("*.xml")):
            reports.setdefault(re.sub(r"_\d+$", "", file.stem), []).append(file)
        for line in log.read_text().splitlines():
            test = json.loads(line)
            # GoogleTest names its file after the program; a script run by an interpreter is the first argument that is
            # one.
            programs = [pathlib.Path(word).stem for word in test["command"]]
            name = next((name for name in programs if name in reports), None)
            self.add_test(test, reports.get(name))
            if name:
                reports[name] = []  # a second test of the same program has its cases in the same files: counted once

    def add_test(self, test, files):
        before = len(self.failed)
        for file in files or []:
            try:
                self.add_cases(file)
            except xml.ParseError as error:
                self.failed.append(f"{test['name']}: {file}: {error}")
        good = test["result"] in ("OK", "EXPECTEDFAIL", "SKIP")
        if not good and len(self.failed) == before:
            self.failed.append(f"{test['name']}: {test['result'].lower()}")  # died, or ran out of time
        elif files is None and test["result"] == "SKIP":
            self.skipped.append(f"{test['name']}: {(test.get('stdout') or 'no reason given').strip().splitlines()[-1]}")
        elif files is None and good:
            self.passed += 1


def main(arguments):
    if len(arguments) < 2 or len(arguments) % 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    tally = Tally()
    for build, results in zip(arguments[::2], arguments[1::2]):
        tally.add_run(build, results)
    for heading, names in (("Skipped", tally.skipped), ("Failed", tally.failed)):
        if names:
            print(f"\n{heading}:")
            for name in names:
                print(f"  {name}")
    print(f"\n{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

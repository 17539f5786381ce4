#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The closing line of ./run test says what happened, and nothing else."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile

import cases
import tally
from cases import check

CASES = '<testsuites><testsuite name="S">%s</testsuite></testsuites>'
PASSED = '<testcase name="a" classname="S" status="run"/>'
FAILED = '<testcase name="b" classname="S" status="run"><failure message="no"/></testcase>'
SKIPPED = '<testcase name="c" classname="S" status="run" result="skipped"><skipped message="no Weston"/></testcase>'
NOT_RUN = '<testcase name="d" classname="S" status="notrun" result="suppressed"/>'


def said_of(tests, reports):
    """(status, lines) for Meson results {program: result} and reports {program: cases as XML}."""
    with tempfile.TemporaryDirectory() as folder:
        build, results = pathlib.Path(folder, "build"), pathlib.Path(folder, "results")
        (build / "meson-logs").mkdir(parents=True)
        results.mkdir()
        if tests is not None:
            lines = [json.dumps({"name": name, "command": [f"/b/{name}"], "result": end}) for name, end in tests]
            (build / "meson-logs/testlog.json").write_text("\n".join(lines))
        for name, text in reports.items():
            (results / f"{name}.xml").write_text(text)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = tally.main([str(build), str(results)])
        return status, output.getvalue().splitlines()


def expect(tests, reports, status, line):
    got_status, lines = said_of(tests, reports)
    got = got_status, lines[-1]
    check(got == (status, line), f"{got}, expected {(status, line)}")


def counts_the_cases_of_a_program_and_not_the_program():
    text = CASES % (PASSED * 3 + SKIPPED + NOT_RUN)
    expect([("x", "OK")], {"x": text}, 0, "3 passed, 0 failed, 1 skipped")


def counts_a_program_without_cases_as_one():
    expect([("x", "OK"), ("y", "SKIP")], {}, 0, "1 passed, 0 failed, 1 skipped")


def counts_a_failed_case_once():
    expect([("x", "FAIL")], {"x": CASES % (PASSED + FAILED)}, 1, "1 passed, 1 failed, 0 skipped")


def says_why_a_case_failed_and_not_at_length():
    _, lines = said_of([("x", "FAIL")], {"x": CASES % FAILED})
    check("  S.b: no" in lines, f"{lines}")
    told = FAILED.replace('"no"', f'"waited for\n{"x" * 10_000} in vain"')
    _, lines = said_of([("x", "FAIL")], {"x": CASES % told})
    line = next(line for line in lines if line.startswith("  S.b"))
    check("waited for x" in line and line.endswith("x in vain") and len(line) < 700, line)


def counts_a_program_that_died_although_its_cases_passed():
    expect([("x", "FAIL")], {"x": CASES % PASSED}, 1, "1 passed, 1 failed, 0 skipped")
    expect([("x", "OK"), ("y", "TIMEOUT")], {}, 1, "1 passed, 1 failed, 0 skipped")


def counts_a_program_that_two_tests_run_once():
    reports = {"x": CASES % PASSED, "x_1": CASES % (PASSED * 2)}
    expect([("x", "OK"), ("x", "OK")], reports, 0, "3 passed, 0 failed, 0 skipped")


def fails_without_a_log_and_without_any_pass():
    expect(None, {}, 1, "0 passed, 1 failed, 0 skipped")
    expect([("x", "SKIP")], {}, 1, "0 passed, 0 failed, 1 skipped")


def fails_on_a_report_that_is_cut_off():
    expect([("x", "OK")], {"x": "<testsuites><tes"}, 1, "0 passed, 1 failed, 0 skipped")


if __name__ == "__main__":
    cases.main("Tally", cases.named(sys.modules[__name__], "counts_", "says_", "fails_"))

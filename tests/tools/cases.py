# SPDX-License-Identifier: LGPL-2.1-or-later
"""A runner for test scripts: cases are functions whose names are sentences; results go to the terminal and, where
GTEST_OUTPUT names a folder ("xml:DIR/"), into an XML file that tests/tools/tally.py counts as it counts
GoogleTest's."""

import argparse
import os
import pathlib
import sys
import time
import traceback
import xml.etree.ElementTree as xml


class Skip(Exception):
    """Raised by a case when this machine lacks something; the text is the reason."""


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def named(module, *prefixes):
    """The cases that `module` itself defines: functions whose names begin with one of `prefixes`."""
    return [
        (name, item)
        for name, item in vars(module).items()
        if callable(item) and item.__module__ == module.__name__ and name.startswith(prefixes)
    ]


def _run_one(function):
    """Returns (outcome, text): outcome is "ok", "FAILED" or "skipped"."""
    try:
        function()
        return "ok", ""
    except Skip as skip:
        return "skipped", str(skip)
    except AssertionError as failure:
        return "FAILED", str(failure) or traceback.format_exc()
    except Exception:  # a case that cannot even finish has failed; the others still run
        return "FAILED", traceback.format_exc()


def main(suite, cases, arguments=None):
    """Runs `cases`, a list of (name, function), all or those whose name contains --filter, and ends the program: 0,
    1 when a case failed, 77 when all were skipped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--filter", default="", help="run the cases whose name contains this")
    parser.add_argument("--list", action="store_true")
    options, _ = parser.parse_known_args(arguments)
    chosen = [(name, function) for name, function in cases if options.filter in name]
    if options.list:
        print("\n".join(name for name, _ in chosen))
        sys.exit(0)

    report = xml.Element("testsuites")
    element = xml.SubElement(report, "testsuite", name=suite)
    outcomes = []
    for name, function in chosen:
        print(f"[ run     ] {suite}.{name}", flush=True)
        start = time.monotonic()
        outcome, text = _run_one(function)
        seconds = time.monotonic() - start
        print(f"[ {outcome:7} ] {suite}.{name} ({seconds:.1f} s) {text}", flush=True)
        case = xml.SubElement(element, "testcase", classname=suite, name=name, status="run", time=f"{seconds:.3f}")
        if outcome == "FAILED":
            xml.SubElement(case, "failure", message=text)
        elif outcome == "skipped":
            xml.SubElement(case, "skipped", message=text)
        outcomes.append(outcome)

    output = os.environ.get("GTEST_OUTPUT", "")
    if output.startswith("xml:"):
        path = pathlib.Path(output[4:]) / (pathlib.Path(sys.argv[0]).stem + ".xml")
        xml.ElementTree(report).write(path, encoding="utf-8", xml_declaration=True)
    if "FAILED" in outcomes or not outcomes:
        sys.exit(1)
    sys.exit(0 if "ok" in outcomes else 77)

#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints what a suite's tests run, as Ninja's targets, one a line: a build of these alone is a part of the whole.

usage: suite_programs.py BUILD_DIR SUITE"""

import json
import os
import subprocess
import sys


def programs(build, suite):
    known = json.loads(subprocess.run(["meson", "introspect", build, "--tests", "--targets"], check=True, capture_output=True).stdout)
    wanted = {target for test in known["tests"] if any(name.split(":")[-1] == suite for name in test["suite"]) for target in test["depends"]}
    return [os.path.relpath(file, os.path.abspath(build)) for target in known["targets"] if target["id"] in wanted for file in target["filename"]]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    print("\n".join(programs(*sys.argv[1:])))

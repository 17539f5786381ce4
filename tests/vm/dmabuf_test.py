#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real dmabufs, on a kernel that makes them: Debian 13's, in a virtual machine, which runs the unit test's program from the
build tree.

usage: dmabuf_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "vm")]
import cases
import machine
import stage as staging
from cases import Skip, check

now = None  # the Machine


def allocators_make_dmabufs_that_are_what_they_say():
    program = now.stage.build / "tests/dmabuf/dmabuf-memory-test"
    said = now.run(program, "--gtest_filter=kernel/*", seconds=60, root="/host")
    print(said, flush=True)
    check("[  PASSED  ] 2 tests" in said and "SKIPPED" not in said, said)


def main():
    global now
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs here")
    options, _ = parser.parse_known_args()
    with staging.Stage(options.build, options.keep) as stage:
        missing = None
        try:
            now = machine.Machine(stage)
        except staging.Missing as problem:
            missing = str(problem)

        def guarded(function):
            def run():
                if missing:
                    raise Skip(missing)
                function()

            return run

        found = cases.named(sys.modules["__main__"], "allocators_")
        cases.main("RealDmabuf", [(name, guarded(function)) for name, function in found])


if __name__ == "__main__":
    main()

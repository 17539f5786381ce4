#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real dmabufs, on a kernel that makes them: Debian 13's, in a virtual machine, which runs the unit test's program from the
build tree.

usage: dmabuf_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "vm")]
import cases
import machine
import staged
from cases import check

now = None  # the Machine


def allocators_make_dmabufs_that_are_what_they_say():
    program = now.stage.build / "tests/dmabuf/dmabuf-memory-test"
    said = now.run(program, "--gtest_filter=kernel/*", seconds=60, root="/host")
    print(said, flush=True)
    check("[  PASSED  ] 2 tests" in said and "SKIPPED" not in said, said)


def set_up(stage, _):
    global now
    now = machine.Machine(stage)


def main():
    staged.main("RealDmabuf", cases.named(sys.modules["__main__"], "allocators_"), set_up)


if __name__ == "__main__":
    main()

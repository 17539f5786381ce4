#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The library exports what its header declares, and nothing else. Arguments: library, header."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tools"))
import cases
from cases import check

LIBRARY, HEADER = sys.argv[1:3]
del sys.argv[1:3]


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def it_exports_what_the_header_declares_and_nothing_else():
    header = re.sub(r"/\*.*?\*/", "", pathlib.Path(HEADER).read_text(encoding="utf-8"), flags=re.DOTALL)
    declared = {re.search(r"(\w+)\s*\(", text).group(1)
                for text in re.findall(r"^SPICE_OVERLAY_API [^;]*;", header, re.MULTILINE)}
    exported = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", LIBRARY).splitlines()
                if line.split()[-2] != "A"}
    check(len(declared) > 15, f"only {len(declared)} functions were found in {HEADER}")
    check(declared == exported, f"declared only: {sorted(declared - exported)}; exported only: {sorted(exported - declared)}")


def its_name_carries_the_version_of_its_interface():
    check("SONAME" in (text := run("objdump", "-p", LIBRARY)) and "libspice-overlay-guest.so.0\n" in text, text)


def it_needs_no_library_that_a_player_would_not_expect():
    needed = re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", LIBRARY))
    allowed = re.compile(r"lib(c|m|stdc\+\+|gcc_s|xcb(-\w+)?|[at]san|ubsan)\.so|ld-linux")
    check(needed and all(allowed.match(name) for name in needed), f"needs {needed}")


if __name__ == "__main__":
    cases.main("guestlib-abi", cases.named(sys.modules[__name__], "it"))

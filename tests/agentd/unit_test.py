#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is installed for systemd and udev, as systemd itself reads it.

usage: unit_test.py SERVICE"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools")]
import cases
from cases import Skip, check

SERVICE = pathlib.Path(sys.argv[1])
FILES = ROOT / "guest/agentd"
MOST_EXPOSED = 20  # tenths, of 100


def systemd_analyze(*words):
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not installed")
    found = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    if "Unknown command" in found.stderr or "unrecognized option" in found.stderr:
        raise Skip("this systemd-analyze does not know " + words[0])
    return found


def service_is_hardened():
    found = systemd_analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", str(SERVICE))
    check(found.returncode == 0, found.stdout[-400:] + found.stderr)


def units_are_understood():
    with tempfile.TemporaryDirectory() as folder:
        service = pathlib.Path(folder) / SERVICE.name
        # The program is not installed where the unit says.
        service.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", SERVICE.read_text(), flags=re.M))
        socket = shutil.copy(FILES / "spice-overlay-agentd.socket", folder)
        found = systemd_analyze("verify", "--man=no", "--recursive-errors=no", str(service), socket)
        check(found.returncode == 0 and folder not in found.stderr, found.stderr)


def service_starts_as_the_user_that_is_made_and_that_the_rule_gives_the_port_to():
    user = re.search(r"^User=(\S+)$", SERVICE.read_text(), re.M).group(1)
    check(f"u {user} " in (FILES / "spice-overlay-agentd.sysusers.conf").read_text(), "no such user is made")
    rule = (FILES / "60-spice-overlay-agentd.rules").read_text()
    check(f'GROUP="{user}"' in rule and SERVICE.name in rule, rule)


if __name__ == "__main__":
    cases.main("AgentUnit", cases.named(sys.modules["__main__"], "service_", "units_"), [])

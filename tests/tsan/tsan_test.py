#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which of ThreadSanitizer's reports are passed over: those of libraries alone."""

import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent / "tools")]
import cases
import tsan
from cases import check

LIBRARY = "    #0 memset sanitizer_common_interceptors.inc:799 (libtsan.so.2+0x5cbc4)\n    #1 <null> <null> (libavcodec.so.59+0x2dc698)\n"
BY_OURS = "    #2 spice_overlay::Ladder::decode(Unit const&) ladder.cpp:98 (spice-overlay-decoder+0x18d38)\n"
OURS = "    #0 spice_overlay::FramePool::codec_done(Slot&) frame_pool.cpp:128 (spice-overlay-decoder+0x18d38)\n"
OURS_BY_MEMCPY = "    #0 memcpy interceptors.inc:827 (libtsan.so.2+0x5dda6)\n" + OURS.replace("#0", "#1")
LOST = "    [failed to restore the stack]\n"
ORIGIN = "  Thread T1 (tid=1364, running) created by main thread at:\n    #0 pthread_create posix.cpp:1001 (libtsan.so.2+0x5e686)\n" + BY_OURS


def race(one, other):
    return (
        f"WARNING: ThreadSanitizer: data race (pid=1316)\n  Write of size 8 at 0x7b30 by main thread:\n{one}\n"
        f"  Previous write of size 1 at 0x7b31 by thread T1 (mutexes: write M27):\n{other}\n"
        f"  Location is heap block of size 150 at 0x7b30 allocated by main thread:\n{OURS}\n{ORIGIN}\nSUMMARY: ThreadSanitizer: data race"
    )


REPORTS = {
    "of one library": (race(LIBRARY, LIBRARY), True),
    "of a library that our code called": (race(LIBRARY + BY_OURS, LIBRARY), True),
    "of a library, the other access not kept": (race(LIBRARY, LOST), True),
    "of our code and a library": (race(LIBRARY, OURS), False),
    "of a library and our code": (race(OURS, LIBRARY), False),
    "of our code through memcpy": (race(LIBRARY, OURS_BY_MEMCPY), False),
    "of a library that is not named": (race(LIBRARY.replace("libavcodec", "libother"), LIBRARY), False),
    "of nobody known": (race(LOST, LOST), False),
    "of our code, the other access not kept": (race(OURS, LOST), False),
    "of locks": (
        "WARNING: ThreadSanitizer: lock-order-inversion (potential deadlock) (pid=7)\n  Cycle in lock order graph: M1 => M2 => M1\n\n"
        f"  Mutex M2 acquired here while holding mutex M1 in main thread:\n{LIBRARY}\n"
        f"  Mutex M1 acquired here while holding mutex M2 in thread T1:\n{OURS}\n{ORIGIN}\nSUMMARY: ThreadSanitizer: lock-order-inversion",
        False,
    ),
}


def passes_over_reports_of_libraries_alone():
    for name, (report, passed_over) in REPORTS.items():
        check(tsan.is_a_librarys(report, ("libavcodec.so",)) == passed_over, f"{name}: {tsan.actors(report)}")


def names_libraries_each_with_its_reason():
    lines = [line for line in (tsan.ROOT / "tests/tsan/libraries.txt").read_text().splitlines() if line and not line.startswith("#")]
    check(len(lines) > 0 and all(len(line.split()) > 3 for line in lines), str(lines))
    check(all(name.startswith("lib") and ".so" in name for name in tsan.libraries()), str(tsan.libraries()))


LOG = """[ run     ] Hud.figures
[ FAILED  ] Hud.figures (6.4 s) {'hidden': 1}
[ ok      ] Hud.others (1.0 s)
[  FAILED  ] DecoderPictures/Codec.are_right/h264, where GetParam() = 1 (12 ms)
[  FAILED  ] Plain.name (3 ms)
[  PASSED  ] 3 tests.
[  FAILED  ] 2 tests, listed below:
[  FAILED  ] Plain.name
"""


def tells_which_cases_failed():
    found = tsan.failed_cases(LOG)
    check(found == ["DecoderPictures/Codec.are_right/h264", "Hud.figures", "Plain.name"], str(found))


def names_cases_that_may_fail_each_with_its_reason():
    known = tsan.reasons("cases.txt")
    check(known and all(len(why.split()) > 3 for why in known.values()), str(known))
    sources = [*tsan.ROOT.glob("tests/wayland/*_test.py"), *tsan.ROOT.glob("tests/*/*_test.cpp")]
    texts = [source.read_text() for source in sources]
    for name in known:
        check(any(name.split(".")[1] in text for text in texts), f"{name} is no case of any test")
    check(tsan.excuse("Plain.name", known) is None, "everything may fail")
    check(tsan.excuse(f"{next(iter(known))}_on_gl", known), "nothing may fail")


if __name__ == "__main__":
    cases.main("Tsan", cases.named(sys.modules[__name__], "passes_", "names_", "tells_"))

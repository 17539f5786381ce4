# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a process holds, read from /proc, and whether it grows."""

import contextlib
import os
import pathlib
import statistics


def descriptors(pid):
    """Open descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def names_of_descriptors(pid):
    """What they refer to, sorted; numbers that differ from one to the next are left out."""
    names = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(os.readlink(entry).split(":[")[0])
    return sorted(names)


def status(pid, name):
    """The field `name` of /proc/PID/status as a text, "" when the process is gone."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return line.split(":", 1)[1].strip()
    return ""


def resident(pid):
    """Memory in bytes that is in RAM, shared memory included. Counted page by page: what /proc/PID/status says may be off by some."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) << 10
    raise OSError(f"/proc/{pid}/smaps_rollup says nothing of Rss")


def waited_for_processor(pid):
    """Seconds that the main thread could have run and did not, since others did; 0 where the kernel does not count them."""
    with contextlib.suppress(OSError, IndexError):
        return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def threads(pid):
    return int(status(pid, "Threads"))


def shut_in(pid):
    """Whether a decoder's filter of system calls is in place: the codec is open, and units are decoded from here on."""
    return status(pid, "Seccomp") == "2"


def children(pid):
    """Process ids of the children, sorted."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return sorted(found)


def slope(times, values):
    """The median of the slopes between all pairs of points (Theil-Sen): up to 29 % of the points may be anything."""
    step = max(1, len(times) // 400)  # pairs grow with the square
    times, values = times[::step], values[::step]
    slopes = [
        (values[j] - values[i]) / (times[j] - times[i])
        for i in range(len(times))
        for j in range(i + 1, len(times))
        if times[j] > times[i]
    ]
    return statistics.median(slopes) if slopes else 0.0


def growth(times, values):
    """How much `values` have grown from the first time to the last, by slope()."""
    return slope(times, values) * (times[-1] - times[0]) if len(times) > 1 else 0.0

# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the figures of a run have to be: lines of (what, measured, limit, whether it holds)."""

from cases import check

DRIFT_KIB = 1024  # of the viewer's memory, over any number of deaths
RESUMPTION_MS = 60  # median: from a decoder that is ready to its picture on the screen
# Where the viewer waits for a processor for a greater share of the time, others keep the machine busy, and times are theirs.
BUSY, BUSY_RESUMPTION_MS = 0.1, 600


def of_chaos(figures):
    baseline = figures["descriptors"]
    resumption = figures["resumption_ms"]
    bound = BUSY_RESUMPTION_MS if figures["waiting"] > BUSY else RESUMPTION_MS
    return [
        ("viewer's descriptors with all streams closed, all rounds", baseline, "one number", len(baseline) == 1),
        ("viewer's memory, growth, KiB", figures["drift_kib"], f"below {DRIFT_KIB}", figures["drift_kib"] < DRIFT_KIB),
        ("decoders started again", figures["restarts"], f"{figures['kills']} kills", figures["restarts"] >= figures["kills"]),
        (
            f"resumption after ready, median of {resumption['count']}, ms",
            resumption["p50"],
            f"at most {bound}; the viewer waited for a processor {figures['waiting']:.1%} of the time",
            resumption["p50"] <= bound,
        ),
        # One that is killed again before its picture is due resumes nothing.
        ("pictures of decoders started again", resumption["count"], "half of them", resumption["count"] >= figures["restarts"] // 2),
    ]


# Growth over the whole run that is still flat: what a heap may take and give, and half a descriptor or thread.
FLAT = {"resident": 2 << 20, "descriptors": 0.5, "threads": 0.5}
HOST_RESIDENT = 64 << 20  # libspice-server keeps what a burst for a slow client took
# In less than so many seconds a slope says nothing of memory, and little of the rest.
LEAST_SECONDS, NEARLY_FLAT = 120, {"descriptors": 4, "threads": 4}


def of_endurance(figures, seconds, reconnects):
    lines = [
        ("steps whose every pixel is right", figures["steps"] - len(figures["wrong_steps"]), figures["steps"], not figures["wrong_steps"]),
        ("steps looked at", figures["steps"], "at least one", figures["steps"] > 0),
        ("connections lost and made again", figures["reconnects"], reconnects, figures["reconnects"] >= reconnects),
    ]
    lines += [("wrong step", wrong, "none", False) for wrong in figures["wrong_steps"][:20]]
    for process, growth in figures["growth"].items():
        for quantity, grown in growth.items():
            limit = (FLAT if seconds >= LEAST_SECONDS else NEARLY_FLAT).get(quantity)
            if limit is not None and (process, quantity) == ("host", "resident"):
                limit = HOST_RESIDENT
            if limit is not None:
                lines.append((f"{process}: {quantity}, growth", grown, f"below {limit}", grown < limit))
    return lines


def must_hold(lines):
    broken = [f"{what}: {measured}, must be {limit}" for what, measured, limit, holds in lines if not holds]
    check(not broken, "; ".join(broken))

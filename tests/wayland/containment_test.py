#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random sequences of whatever moves videos and windows (containment.py): no pixel of the screen is out of place after any of them.

usage: containment_test.py --build DIR [--count N] [--seed FIRST] [--keep DIR] [--filter TEXT]"""

import argparse
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle")]
import cases
import containment
import stage as staging
from cases import Skip, check


def chroma_that_the_oracle_excuses_is_left_unread(options):
    said, seen = containment.unread_by_weston(options.build)
    off = abs(said - seen).max()
    print(f"  {(seen > 0.05).sum()} of {seen.size} columns and rows, {seen.max():.0%} of a sample at most; the oracle is off by {off:.1%}")
    reads_all = seen.max() < containment.UNREAD_TOLERANCE  # nothing is excused then
    check(reads_all or containment.leaves_chroma_unread(options.build), f"this Weston leaves something else unread: off by {off:.0%}")


def no_pixel_is_out_of_place(options, name, seeds):
    begun = time.monotonic()

    def progress(done, pixels, wrong):
        print(f"  {done} of {len(seeds)} sequences: {pixels} video pixels, {wrong} wrong, {time.monotonic() - begun:.0f} s", flush=True)

    wrong, _ = containment.play(options.build, name, seeds, options.keep, progress)
    check(not wrong, "\n".join(wrong) + "\nagain by the same --count and --seed")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--count", type=int, default=20, help="sequences on each renderer")
    parser.add_argument("--seed", type=int, default=1, help="number of the first sequence")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs, scenes, and pictures of what is wrong, here")
    options, _ = parser.parse_known_args()

    def case(name, function, *arguments):
        def run_case():
            try:
                function(options, *arguments)
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return name, run_case

    excused = "chroma_that_the_oracle_excuses_is_left_unread_whoever_the_client_is"
    chosen = [case(excused, chroma_that_the_oracle_excuses_is_left_unread)]
    for name, seeds in containment.settings_of(options.count, options.seed):
        chosen.append(case(f"no_pixel_is_out_of_place_in_random_sequences_{name}", no_pixel_is_out_of_place, name, seeds))
    cases.main("Containment", chosen)


if __name__ == "__main__":
    main()

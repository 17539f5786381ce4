#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Short versions of what ./run soak does at length: decoders killed and stopped in mid-stream, damaged bitstreams and sizes that are
lies, a guest that drips its bytes, a connection lost and made again.

usage: chaos_test.py --build DIR [--seed N] [--filter TEXT]"""

import argparse
import os
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle"), str(ROOT / "tests/soak")]
import cases
import chaos
import damage
import endurance
import meters
import stage as staging
import verdicts
import wire
from cases import Skip, check

KILLS, KILLING_SECONDS = 1000, 60
RECONNECTS = 5
options = None


def viewer_is_as_before_after_decoders_were_killed_by_the_hundred():
    with staging.Stage(options.build) as stage:
        storm = chaos.Chaos(stage, options.build, options.seed)
        start = time.monotonic()
        # On a slow machine fewer kills, but never so few that nothing could be said of them.
        while len(storm.rounds) < chaos.WARM_UP + 4 or (storm.kills < KILLS and time.monotonic() - start < KILLING_SECONDS):
            storm.perform()
        figures = storm.figures()
        print(f"  seed {options.seed}: {figures}", flush=True)
        verdicts.must_hold(verdicts.of_chaos(figures))


def pair(stage):
    return damage.Pair(stage, options.build)


def other_film_goes_on_while_a_decoder_is_stopped():
    """It does not die and says nothing more: the viewer has to find out by itself."""
    with staging.Stage(options.build) as stage:
        now = pair(stage)
        now.play(now.bad)
        now.goes_on(0.5)
        viewer = now.viewer.process
        decoders = staging.wait_for(lambda: (found := meters.children(viewer.pid)) and len(found) == 2 and found, 20, "two decoders")
        os.kill(decoders[1], signal.SIGSTOP)
        now.goes_on_while(lambda: decoders[1] in meters.children(viewer.pid), 30, "a silent decoder that is not killed")
        viewer.wait_log("says nothing")
        staging.wait_for(lambda: len(meters.children(viewer.pid)) == 2, 20, "another decoder")
        now.goes_on(0.5)


def desktop_lives_while_a_guest_drips_its_bytes():
    with staging.Stage(options.build) as stage:
        now = pair(stage)
        now.play(now.bad)
        now.goes_on(0.5)
        now.link.drip = 20  # bytes a second: no unit is whole within the ten seconds of docs/protocol.md
        # Frozen pictures at first, then none: the desktop around them is right all the time.
        deadline = time.monotonic() + 40
        while not now.verdict(masked=(), shown=()).clean:
            check(now.verdict(masked=(1, 2), shown=()).clean, "the desktop around the films is wrong")
            check(time.monotonic() < deadline, f"the films do not leave: {now.viewer.process.tail()}")
            time.sleep(0.2)
        now.link.drip = None
        now.goes_on(1)


def what_is_bad(now):
    """What one film can do to another -> (the bad film, filter of messages, what its sender is told; None: it is shown)."""
    folder = now.folder
    size, small, vast, too_large = damage.BAD_SIZE, (320, 240), (8192, 4096), (8192, 4320)
    huge = damage.read_units(damage.plain(folder, *too_large, 2), folder)
    return {
        "bits_flipped": (damage.flipped(now.bad, options.seed, folder), None, None),
        "cut_off": (damage.cut_off(now.bad, folder), None, None),
        "of_changing_size": (damage.changing(folder), None, None),
        "vast_and_announced_as_small": (damage.plain(folder, *vast, 3), wire.lie(vast, small), None),
        "too_large_and_announced_as_small": (now.bad, wire.Swap(size, huge), "larger than the client can take"),
        "small_and_announced_as_vast": (now.bad, wire.lie(size, vast), None),
        "small_and_announced_as_too_large": (now.bad, wire.lie(size, too_large), "larger than the client can take"),
    }


def good_film_goes_on_beside_bad_ones():
    with staging.Stage(options.build) as stage:
        now = pair(stage)
        for what, (film, change, told) in what_is_bad(now).items():
            before = len(now.viewer.process.log())
            try:
                now.play(film, change)
                if told:
                    now.sender.wait_log(told, 30)
                else:
                    now.must_show("both films", masked=(), shown=(1, 2))
                now.goes_on(1.5)
            except AssertionError as failure:
                raise AssertionError(f"beside a film {what}, seed {options.seed}: {failure}") from None
            said = now.viewer.process.log()[before:].count("\n")
            print(f"  {what}: {told or 'shown'}; {said} lines of the viewer's", flush=True)


def decoders_take_damaged_bitstreams_of_every_codec():
    program = options.build / "tests/soak/corrupt"
    if not program.exists():
        raise Skip("this build has no decoder to damage")
    wrong, codecs = [], set()
    with staging.Stage(options.build) as stage:
        decoder = stage.program("spice-overlay-decoder")
        for name, codec, units, other in damage.material(options.build / "test-clips", footage=False):
            whole = damage.decode(program, decoder, units, other, codec, "whole", 1, options.seed)
            check(whole["frames"] > 0 and not whole["failures"], f"{name}: what is not damaged gives {whole}")
            codecs.add(codec)
            figures = damage.decode(program, decoder, units, other, codec, "any", 48, options.seed)
            wrong += [f"{name}, seed {options.seed}: {trouble}" for trouble in damage.troubles(figures)]
            print(f"  {name}: {figures['frames']} frames, failures {figures['failures']}", flush=True)
    check(not wrong, "\n".join(wrong))
    if missing := set(damage.CODECS) - codecs:
        raise Skip(f"nothing here encodes {', '.join(sorted(missing))}: not damaged")


def nothing_grows_while_films_play_and_connections_are_lost():
    with staging.Stage(options.build) as stage:
        unrest = endurance.Endurance(stage, options.build, options.seed)
        try:
            unrest.run(options.seconds, RECONNECTS)
            print(f"  seed {options.seed}: {unrest.figures()}", flush=True)
            verdicts.must_hold(verdicts.of_endurance(unrest.figures(), options.seconds, RECONNECTS))
        finally:
            unrest.close()


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=30, help="of films and lost connections")
    options, _ = parser.parse_known_args()
    options.build = options.build.resolve()

    def guarded(function):
        def run():
            try:
                function()
            except staging.Missing as missing:
                raise Skip(str(missing)) from None

        return run

    found = cases.named(sys.modules["__main__"], "viewer_", "other_", "desktop_", "good_", "decoders_", "nothing_")
    cases.main("Chaos", [(name, guarded(function)) for name, function in found])


if __name__ == "__main__":
    main()

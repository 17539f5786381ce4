# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs cases that share one stage and what stands on it."""

import argparse
import pathlib

import cases
import stage as staging

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main(suite, chosen, set_up, before=None, parser=None, after_failure=None):
    """`chosen` is what cases.main() takes. `set_up(stage, options)` comes first; where it raises Missing all cases are skipped with
    that reason. `before(function)` comes before each case, and may fail it; `after_failure(function)` after one that has failed."""
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--keep", type=pathlib.Path, help="keep logs here")
    options, _ = parser.parse_known_args()
    options.build = options.build.resolve()
    with staging.Stage(options.build, options.keep) as stage:
        missing = None
        try:
            set_up(stage, options)
        except staging.Missing as problem:
            missing = str(problem)

        def guarded(function):
            def run():
                if missing:
                    raise cases.Skip(missing)
                if before:
                    before(function)
                try:
                    function()
                except Exception:
                    if after_failure:
                        after_failure(function)
                    raise

            return run

        cases.main(suite, [(name, guarded(function)) for name, function in chosen])

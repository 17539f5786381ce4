#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hours of trouble: decoders killed in mid-stream, damaged bitstreams in every codec, random sequences of moves and clips whose every pixel
is looked at, films and windows without rest while the connection is lost and made again. Writes report.html, its plots and figures.json
into a folder. Ends with status 0 when everything holds that has to, with 1 when something does not, with 2 when it cannot be run."""

import argparse
import csv
import html
import json
import pathlib
import platform
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/oracle"), str(ROOT / "tests/wayland")]
import chaos
import containment
import damage
import endurance
import report
import stage as staging
import verdicts
from PIL import Image

# What an hour has; other durations have their share of it.
KILLS, VARIANTS, SEQUENCES, RECONNECTS = 10_000, 2_000, 1_000, 1_000
PARTS = ("kills", "damage", "containment", "unrest")


class Progress:
    """One line that is written over on a terminal; elsewhere a line now and then."""

    def __init__(self, part):
        self.part, self.terminal, self.next = part, sys.stderr.isatty(), 0
        self.start = time.monotonic()

    def __call__(self, done, text):
        now = time.monotonic()
        if now < self.next and done < 1:
            return
        self.next = now + (0.5 if self.terminal else 30)
        took = int(now - self.start)
        line = f"{self.part} {min(100, max(0, round(done * 100))):3d} %  {took // 60}:{took % 60:02d}  {text}"
        print(f"\r\033[K{line}" if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self):
        if self.terminal:
            print(file=sys.stderr)


def kill_decoders(options, progress):
    with staging.Stage(options.build, options.out / "logs-kills") as stage:
        storm = chaos.Chaos(stage, options.build, options.seed)
        wanted = max(1, round(KILLS * options.share))
        while storm.kills < wanted or len(storm.rounds) < chaos.WARM_UP + 4:
            storm.perform()
            progress(storm.kills / wanted, f"{storm.kills} of {wanted} kills, {len(storm.rounds)} rounds")
        figures = storm.figures()
    rounds = list(range(1, len(storm.rounds) + 1))
    write_table(options.out / "kills.csv", [vars(r) for r in storm.rounds])
    plots = {
        "kills-descriptors": report.chart(
            "Viewer's descriptors, all streams closed", "number", [("descriptors", rounds, [r.descriptors for r in storm.rounds])], "round"
        ),
        "kills-memory": report.chart(
            "Viewer's memory, all streams closed", "MiB", [("resident", rounds, [r.resident / 2**20 for r in storm.rounds])], "round"
        ),
    }
    return figures, verdicts.of_chaos(figures), plots


def damage_bitstreams(options, progress):
    program = options.build / "tests/soak/corrupt"
    if not program.exists():
        raise staging.Missing(f"{program} is not built")
    lines, figures, started = [], {}, []
    clips = damage.material(options.build / "test-clips")
    wanted = max(1, round(VARIANTS * options.share))
    work = [(clip, kind) for clip in clips for kind in damage.KINDS]
    with staging.Stage(options.build) as stage, open(options.out / "damage.log", "w") as log:
        decoder = stage.program("spice-overlay-decoder")
        for number, ((name, codec, units, other), kind) in enumerate(work):
            # The issue with bits is that there are many of them; the rest is the same again soon.
            variants = wanted if kind == "flips" else max(1, wanted // 4)
            progress(number / len(work), f"{name}, {kind}: {variants} variants")
            result = damage.decode(program, decoder, units, other, codec, kind, variants, options.seed)
            log.write(f"== {name}, {kind}\n{result.pop('log')}")
            figures[f"{name}, {kind}"] = result
            wrong = damage.troubles(result)
            failed = sum(result["failures"].values())
            measured = f"{result['variants']} variants, {result['frames']} frames, {failed} given up; peak {result['peak_kib'] >> 10} MiB"
            lines.append((f"{name}, {kind}", "; ".join([measured, *wrong]), "within its budgets", not wrong))
    progress(1, f"{len(work)} kinds of damage")
    return figures, lines, {}


def contain(options, progress):
    """Sequences on each renderer of Weston."""
    work = containment.settings_of(max(1, round(SEQUENCES * options.share)), options.seed)
    wanted, done, lines, figures = sum(len(seeds) for _, seeds in work), 0, [], {}
    for name, seeds in work:

        def batch_done(number, pixels, wrong, done=done, name=name):
            progress((done + number) / wanted, f"{done + number} of {wanted} sequences; {name}: {pixels} pixels of videos, {wrong} wrong")

        wrong, pixels = containment.play(options.build, name, seeds, options.out / "containment", batch_done)
        done += len(seeds)
        figures[name] = {"sequences": len(seeds), "first": seeds[0], "video_pixels": pixels, "wrong": wrong}
        lines.append((f"{name}: sequences whose every pixel is right", len(seeds) - len(wrong), len(seeds), not wrong))
        lines += [("wrong sequence", what, "none", False) for what in wrong[:20]]
    return figures, lines, {}


def leave_no_rest(options, progress):
    seconds = max(30, round(3600 * options.share))
    reconnects = max(1, round(RECONNECTS * options.share))
    with staging.Stage(options.build, options.out / "logs-unrest") as stage:
        unrest = endurance.Endurance(stage, options.build, options.seed)
        try:
            unrest.run(seconds, reconnects, progress)
        finally:
            unrest.close()
            plots = plots_of(unrest)
            for name, plot in plots.items():
                (options.out / f"{name}.svg").write_text(plot)
            write_samples(options.out / "unrest.csv", unrest)
            for number, (name, _, shot, wanted) in enumerate(unrest.wrong[:20]):
                for kind, pixels in (("shot", shot), ("wanted", wanted)):
                    Image.fromarray(pixels.copy()).save(options.out / f"wrong-{number:02}-{name}-{kind}.png")
        figures = unrest.figures()
    return figures, verdicts.of_endurance(figures, seconds, reconnects), plots


def plots_of(unrest):
    plots = {}
    for quantity, unit, scale in (("resident", "MiB", 2**20), ("descriptors", "number", 1), ("threads", "number", 1)):
        lines = [(name, s.times, [v / scale for v in s.values[quantity]]) for name, s in unrest.processes.items()]
        plots[f"unrest-{quantity}"] = report.chart(f"{quantity.capitalize()} of each process", unit, lines)
    times = [at for at, _, _ in unrest.decoders]
    plots["unrest-decoders"] = report.chart("Memory of all decoders", "MiB", [("decoders", times, [m / 2**20 for _, _, m in unrest.decoders])])
    return plots


def write_samples(path, unrest):
    write_table(
        path,
        [
            {"process": name, "time": f"{at:.1f}", **{quantity: samples.values[quantity][i] for quantity in endurance.QUANTITIES}}
            for name, samples in unrest.processes.items()
            for i, at in enumerate(samples.times)
        ],
    )


def write_table(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys() if rows else [])
        writer.writeheader()
        writer.writerows(rows)


PERFORM = {"kills": kill_decoders, "damage": damage_bitstreams, "containment": contain, "unrest": leave_no_rest}
HEADINGS = {
    "kills": "Decoders killed in mid-stream",
    "damage": "Damaged bitstreams",
    "containment": "Random sequences, pixel by pixel",
    "unrest": "Films and windows without rest",
}


def perform(part, options):
    """(figures, verdicts, HTML of the plots); a part that breaks off is a verdict too."""
    progress = Progress(part)
    try:
        figures, lines, plots = PERFORM[part](options, progress)
    except staging.Missing:
        raise
    except Exception as failure:
        progress.end()
        print(f"soak: {part}: {failure}", file=sys.stderr)
        what = f"<pre>{html.escape(traceback.format_exc())}</pre>"
        kept = "".join(plot.read_text() for plot in sorted(options.out.glob(f"{part}-*.svg")))
        return {"failure": str(failure)}, [("goes on to its end", str(failure), "no failure", False)], what + kept
    progress.end()
    for name, plot in plots.items():
        (options.out / f"{name}.svg").write_text(plot)
    return figures, lines, "".join(plots.values())


def commit():
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def arguments():
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        default=60,
        metavar="N",
        help=f"how long films play without rest (default: 60); the other parts have their share of {KILLS} kills, of {VARIANTS} "
        f"damaged variants of every clip and of {SEQUENCES} sequences on each renderer, and take as long as they take",
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("soak-out"), metavar="DIR", help="where the report goes (default: soak-out)")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything that is drawn at random (default: 1)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.minutes <= 0:
        parser.error("--minutes takes a number above 0")
    options.share = options.minutes / 60
    options.build = options.build.resolve()
    return options


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    facts = {"commit": commit(), "began": time.strftime("%Y-%m-%d %H:%M:%S %Z"), "machine": platform.platform(), "seed": options.seed}
    about = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>" for name, value in facts.items())
    results, sections, all_hold = {**facts, "minutes": options.minutes}, [("The run", f"<table>{about}</table>")], True
    for part in [options.only] if options.only else PARTS:
        try:
            figures, lines, plots = perform(part, options)
        except staging.Missing as missing:
            print(f"soak: {missing}", file=sys.stderr)
            return 2
        results[part] = figures
        sections.append((HEADINGS[part], report.table(lines) + plots))
        for what, measured, limit, holds in lines:
            print(f"{'holds ' if holds else 'BROKEN'}  {what}: {measured} ({limit})", flush=True)
            all_hold = all_hold and holds
        # After each part: who breaks off has what there is so far.
        (options.out / "report.html").write_text(report.page("spice-overlay soak", sections))
        (options.out / "figures.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"Report: {options.out / 'report.html'}")
    return 0 if all_hold else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nsoak: broken off", file=sys.stderr)
        sys.exit(130)

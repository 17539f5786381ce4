# SPDX-License-Identifier: LGPL-2.1-or-later
"""Scenes drawn at random, the same for the same seed: four films, and windows that do to them whatever windows do."""

import clips

DESKTOP = (960, 600)
FILMS = {"film1": (320, 180), "film2": (256, 144), "film3": (240, 180), "film4": (200, 112)}
WINDOWS = ("notes", "clock", "chat", "news", "tool")
SHAPES = ("rect", "ellipse", "ring 30", "l 40", "polygon 500,0 1000,1000 0,1000")


def make_clips(folder):
    """One for each film, by index."""
    return {
        index: clips.make(folder, *size, count=240, seed=20 + index, options=("-g", "24"))
        for index, size in enumerate(FILMS.values(), 1)
    }


def _place(random, size):
    """A corner that leaves a part of something of that size on the desktop, and mostly all of it."""
    width, height = size
    if random.random() < 0.8:
        return random.randint(0, DESKTOP[0] - width), random.randint(24, max(24, DESKTOP[1] - height))
    return random.randint(20 - width, DESKTOP[0] - 20), random.randint(24, DESKTOP[1] - 20)


def _action(random):
    name = random.choice([*FILMS, *WINDOWS])
    film = random.choice(list(FILMS))
    x, y = _place(random, FILMS.get(name, (200, 160)))
    over = random.choice(("", " over 150ms", " over 400ms", " over 900ms"))
    # Films are mostly open: what is closed is opened again soon after.
    return random.choice(
        [
            f"move {name} {x} {y}{over}",
            f"move {name} {x} {y}{over}",
            f"resize {name} {random.randint(90, 420)} {random.randint(70, 300)}{over}",
            f"{random.choice(('raise', 'lower'))} {name}",
            f"{random.choice(('hide', 'show', 'show'))} {random.choice(WINDOWS)}",
            f"minimise {film}\nwait 150ms\nrestore {film}",
            f"close {film}\nwait {random.choice((0, 50, 300))}ms\nopen {film}",
            f"pause {film}\nwait {random.choice((0, 80, 400))}ms\nresume {film}",
            f"seek {film} {random.randint(0, 70) / 10}s",
        ]
    )


def write(path, random, steps, seconds_between=4):
    """A scene without end that stops at `steps` steps in each of its turns, with some `seconds_between` of unrest before each."""
    lines = [f"desktop {DESKTOP[0]}x{DESKTOP[1]}", f"wallpaper {random.randint(1, 99)}"]
    for index, (name, size) in enumerate(FILMS.items(), 1):
        x, y = _place(random, size)
        lines.append(f"video {index} {name} {x} {y} {size[0]} {size[1]}")
    for name in WINDOWS:
        x, y = _place(random, (200, 160))
        moving = random.choice(("", "", " fps 8"))
        lines.append(f"window {name} {x} {y} 200 160 text \"{name}\" shape {random.choice(SHAPES)}{moving}")
    for step in range(steps):
        lines += [f"open {film}" for film in FILMS]
        waited = 0
        while waited < seconds_between * 1000:
            lines.append(_action(random))
            pause = random.choice((0, 40, 150, 500))
            lines.append(f"wait {pause}ms")
            waited += pause
        lines += [f"resume {film}" for film in FILMS]
        # The oracle knows of no picture that moves on.
        lines += ["wait", f"step unrest-{step}"]
    path.write_text("\n".join([*lines, "loop", ""]))

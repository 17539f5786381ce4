# SPDX-License-Identifier: LGPL-2.1-or-later
"""A report for people: what was measured against what it has to be, and plots, as one page of HTML without anything from elsewhere."""

import html
import math

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 860, 220, 78, 34, 26
COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7e22ce")
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1c1c1c}
table{border-collapse:collapse;margin:1em 0}td,th{border-bottom:1px solid #ddd;padding:.3em .8em .3em 0;text-align:left;vertical-align:top}
.broken{color:#b91c1c;font-weight:bold}.holds{color:#15803d}svg{display:block;margin:1em 0}pre{white-space:pre-wrap;font-size:12px}"""


def _ticks(low, high, most=5):
    """Round numbers that divide what lies between."""
    span = (high - low) or 1
    step = 10 ** math.floor(math.log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= most)
    first = math.ceil(low / step)
    return [round(step * k, 10) for k in range(first, math.floor(high / step) + 1)]


def _points(times, values, most=1500):
    """As many as can be told apart: the least and the largest of each piece."""
    size = max(1, len(times) // (most // 2))
    kept = []
    for start in range(0, len(times), size):
        piece = range(start, min(start + size, len(times)))
        kept += sorted({min(piece, key=lambda i: values[i]), max(piece, key=lambda i: values[i])})
    return [(times[i], values[i]) for i in kept]


def chart(title, unit, series, x_unit="s"):
    """An SVG: lines of (name, xs, ys) over one axis. The vertical axis begins at 0, so that what is flat looks flat."""
    series = [(name, xs, ys) for name, xs, ys in series if len(xs) > 0]
    if not series:
        return ""
    x_high = max(xs[-1] for _, xs, _ in series) or 1
    x_low = min(xs[0] for _, xs, _ in series)
    y_high = max(max(ys) for _, _, ys in series) * 1.1 or 1

    def x(value):
        return LEFT + (value - x_low) / ((x_high - x_low) or 1) * (WIDTH - LEFT - 10)

    def y(value):
        return HEIGHT - BOTTOM - value / y_high * (HEIGHT - BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="16" font-weight="bold">{html.escape(title)}, {html.escape(unit)}</text>',
    ]
    for tick in _ticks(0, y_high):
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - 10}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(x_low, x_high, 10):
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH - 10}" y="{HEIGHT - 4}" text-anchor="end" fill="#666">{html.escape(x_unit)}</text>')
    for number, (name, xs, ys) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in _points(xs, ys))
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.3" points="{line}"/>')
        parts.append(
            f'<text x="{WIDTH - 14 - 110 * (len(series) - 1 - number)}" y="16" text-anchor="end" fill="{colour}">{html.escape(name)}</text>'
        )
    return "".join([*parts, "</svg>"])


def table(lines):
    """Of verdicts: (what, measured, limit, whether it holds)."""
    rows = "".join(
        f"<tr><td>{html.escape(what)}</td><td>{html.escape(str(measured))}</td><td>{html.escape(str(limit))}</td>"
        f'<td class="{"holds" if holds else "broken"}">{"holds" if holds else "BROKEN"}</td></tr>'
        for what, measured, limit, holds in lines
    )
    return f"<table><tr><th>what</th><th>measured</th><th>has to be</th><th></th></tr>{rows}</table>"


def page(title, sections):
    """`sections`: (heading, HTML)."""
    body = "".join(f"<h2>{html.escape(heading)}</h2>{content}" for heading, content in sections)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )

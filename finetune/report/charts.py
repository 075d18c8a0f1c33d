"""Small charts as inline SVG: bars and lines with 95 % intervals. Colours are classes, set by the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 34


@dataclass(frozen=True)
class Line:
    """Points (x, y), or (x, y, low, high); its name in the legend; `style`: `base`, `adapted`, `training`."""

    name: str
    points: Sequence[tuple[float, ...]]
    style: str = "adapted"
    dots: bool = True


@dataclass(frozen=True)
class Bars:
    """One value for each label, in one colour."""

    name: str
    values: Sequence[float]
    style: str = "adapted"


@dataclass(frozen=True)
class Frame:
    """Where values lie on the picture."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.left) / ((self.right - self.left) or 1)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self.low) / ((self.high - self.low) or 1)


def line_chart(
    lines: Sequence[Line], x_name: str, described: str, percent: bool = False, floor: float | None = None
) -> Markup:
    """`described` is read out in place of the picture. With `floor` a dashed level is drawn."""
    points = [point for line in lines for point in line.points]
    values = [value for point in points for value in point[1:]] + ([floor] if floor is not None else [])
    low, high, ticks = nice_range(min(values), max(values), percent or floor is not None)
    frame = Frame(min(point[0] for point in points), max(point[0] for point in points), low, high)
    at = _marks(sorted({point[0] for point in points}))
    parts = [_axes(frame, ticks, [(frame.x(x), f"{x:g}") for x in at], x_name, percent)]
    if floor is not None:
        y = f"{frame.y(floor):.1f}"
        parts.append(f'<line class="floor" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
    parts += [_line(frame, line) for line in lines]
    return _svg(parts, described)


def bar_chart(
    labels: Sequence[str], groups: Sequence[Bars], x_name: str, described: str, percent: bool = False
) -> Markup:
    """Bars side by side for each label, from zero."""
    values = [value for bars in groups for value in bars.values]
    low, high, ticks = nice_range(min(0.0, *values), max(0.0, *values), True)
    frame = Frame(0, len(labels), low, high)
    shown = set(_spread(range(len(labels))))
    marks = [(frame.x(n + 0.5), label) for n, label in enumerate(labels) if n in shown]
    parts = [_axes(frame, ticks, marks, x_name, percent)]
    for place, bars in enumerate(groups):
        wide = 0.7 / len(groups)
        for number, value in enumerate(bars.values):
            left, right = (frame.x(number + 0.15 + wide * (place + end)) for end in (0, 1))
            top, bottom = sorted((frame.y(value), frame.y(0)))
            parts.append(
                f'<rect class="{escape(bars.style)}" x="{left:.1f}" y="{top:.1f}" width="{right - left - 0.5:.1f}" '
                f'height="{max(bottom - top, 0.5):.1f}"/>'
            )
    return _svg(parts, described)


def nice_range(low: float, high: float, from_zero: bool) -> tuple[float, float, list[float]]:
    """A range of whole steps of 1, 2 or 5 around the values, and those steps."""
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-12:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [number * step for number in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def _marks(values: Sequence[float], most: int = 8) -> list[float]:
    """The values themselves where they are few, else whole steps between them."""
    if len(values) <= most:
        return list(values)
    return [tick for tick in nice_range(values[0], values[-1], False)[2] if values[0] <= tick <= values[-1]]


def _spread(values: Sequence[float], most: int = 8) -> list[float]:
    """Not more than `most` of them, evenly, first and last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(n * (len(values) - 1) / (most - 1))] for n in range(most)]


def _axes(
    frame: Frame, ticks: Sequence[float], marks: Sequence[tuple[float, str]], x_name: str, percent: bool
) -> str:
    parts = []
    for tick in ticks:
        y, text = frame.y(tick), f"{100 * tick:.3g} %" if percent else f"{tick:.3g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    for x, text in marks:
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{escape(text)}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_name)}</text>'
    )
    return "".join(parts)


def _line(frame: Frame, line: Line) -> str:
    style, parts = escape(line.style), []
    for x, y, *interval in line.points:
        if interval:
            low, high = interval
            parts.append(
                f'<line class="interval {style}" x1="{frame.x(x):.1f}" x2="{frame.x(x):.1f}" '
                f'y1="{frame.y(low):.1f}" y2="{frame.y(high):.1f}"/>'
            )
        if line.dots:
            parts.append(f'<circle class="{style}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>')
    path = " ".join(f"{frame.x(point[0]):.1f},{frame.y(point[1]):.1f}" for point in line.points)
    return f'<polyline class="{style}" points="{path}"/>' + "".join(parts)


def _svg(parts: Sequence[str], described: str) -> Markup:
    return Markup(  # every text above was escaped where it went in
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escape(described)}">'
        + "".join(parts)
        + "</svg>"
    )

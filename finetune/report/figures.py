"""The figures of an evaluation as charts, each with a sentence that says what it means and the numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from finetune.evaluation.results import DistanceTo, Evaluation, Figure, LossAgainstBase
from finetune.report.charts import Bars, Line, bar_chart, line_chart

MOST_POINTS = 120
TIME = "time of the noise: 0 clean, 1 noise alone"


@dataclass(frozen=True)
class Chart:
    """`legend`: (style, name); `rows` the numbers as text, with `head` above them."""

    title: str
    words: str
    svg: Markup
    legend: list[tuple[str, str]]
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Group:
    """The charts of one question; `without` says why there are none."""

    id: str
    title: str
    charts: list[Chart]
    without: str = ""


def figures(evaluation: Evaluation, log: Sequence[dict[str, Any]]) -> list[Group]:
    """All groups, in the order of the questions, and training."""
    no_held_out = "The dataset holds no recording back, so there is nothing to measure this by."
    return [
        Group("fig-effect", "Does it do anything?", _effect(evaluation), "No figure was measured."),
        Group("fig-learned", "Does it play like you?", _learned(evaluation), no_held_out),
        Group(
            "fig-kept", "Does it still do what the base did?", _kept(evaluation), "No figure was measured."
        ),
        Group("fig-training", "How the run went", _training(log), "The run's log.jsonl holds no loss."),
    ]


def _effect(evaluation: Evaluation) -> list[Chart]:
    effect = evaluation.effect
    parts = [
        ("by time of the noise", effect.bands, TIME,
         "How much the adapter changes the base's prediction while the noise is taken away: at the right it changes "
         "the plan of the sound, at the left its detail."),
        ("by block of the transformer", effect.blocks, "block, from the text side to the sound",
         "How far the signal after each block has moved from the base's: where in the model the adapter works."),
        ("by strength", effect.strengths, "strength",
         "How the change grows with strength. Steps that grow beyond 1 say that more strength distorts."),
    ]  # fmt: skip
    charts = []
    for title, at, x_name, words in parts:
        if not at:
            continue
        rows = [[each.at, _percent(each.relative)] for each in at]
        said = f"Change {title}: " + "; ".join(f"{label} {value}" for label, value in rows)
        bars = Bars("change", [each.relative for each in at])
        svg = bar_chart([each.at for each in at], [bars], x_name, said, percent=True)
        charts.append(Chart(f"Change {title}", words, svg, [], [title.removeprefix("by "), "change"], rows))
    return charts


def _learned(evaluation: Evaluation) -> list[Chart]:
    learned, charts = evaluation.learned, []
    if learned.held_out and learned.held_out.bands:
        charts.append(_loss_bands("Loss on your held-out takes", learned.held_out, (
            "Below zero the adapter predicts takes it has never heard better than the base; the stroke is where the "
            "true value lies in 95 of 100 cases. A stroke that crosses zero shows nothing.")))  # fmt: skip
    if learned.training and learned.training.bands:
        charts.append(_loss_bands("Loss on your training clips", learned.training, (
            "The same on clips it was trained on. Much further below zero than on the held-out takes means that it "
            "learns your files by heart.")))  # fmt: skip
    if learned.strengths:
        points = [(each.strength, each.held_out) for each in learned.strengths]
        rows = [[f"{x:g}", f"{y:.4f}"] for x, y in points]
        charts.append(Chart(
            "Held-out loss by strength",
            "The strength with the lowest loss fits your playing best; at 0 it is the base.",
            line_chart([Line("held out", points)], "strength", _said("Held-out loss by strength", rows)),
            [], ["strength", "held-out loss"], rows,
        ))  # fmt: skip
    if learned.distances:
        charts.append(_distances(learned.distances))
    if learned.asked:
        labels = [each.what for each in learned.asked]
        rows = [
            [f"{each.what} ({each.how})", str(each.sounds), _percent(each.base), _percent(each.adapted)]
            for each in learned.asked
        ]
        bars = [
            Bars("base", [each.base for each in learned.asked], "base"),
            Bars("adapted", [each.adapted for each in learned.asked]),
        ]
        charts.append(Chart(
            "Asked and got",
            "How often what the caption asks for is heard in the sound. What came is measured by Woodshed's own ears, "
            "which err too.",
            bar_chart(labels, bars, "asked for", _said("Share that came as asked; base, adapted", rows), percent=True),
            _legend(), ["asked for", "sounds", "base", "adapted"], rows,
        ))  # fmt: skip
    return charts


def _loss_bands(title: str, loss: LossAgainstBase, words: str) -> Chart:
    rows = [
        [f"{band.t:g}", f"{band.base:.4f}", f"{band.adapted:.4f}", interval(band.change)]
        for band in loss.bands
    ]
    points = [(band.t, band.change.value, *_bounds(band.change)) for band in loss.bands]
    said = f"{title}, change against the base by time: " + "; ".join(f"{row[0]}: {row[3]}" for row in rows)
    return Chart(
        title, f"{words} {loss.clips} clips.",
        line_chart([Line("change", points)], TIME, said, percent=True),
        [], ["time", "base", "adapted", "change"], rows,
    )  # fmt: skip


def _distances(distances: Sequence[DistanceTo]) -> Chart:
    rows = [
        [
            each.space,
            f"{each.base:.3g}",
            f"{each.adapted:.3g}",
            f"{each.floor:.3g}",
            interval(each.gain, False),
        ]
        for each in distances
    ]
    said = "Distances; base, adapted, floor, gain"
    bars = [
        Bars("base", [each.base for each in distances], "base"),
        Bars("adapted", [each.adapted for each in distances]),
        Bars("your own training takes", [each.floor for each in distances], "training"),
    ]
    return Chart(
        "Distance to your held-out takes",
        "Squared MMD: how far what is played lies from your takes. Your own training takes are the floor: nothing can "
        "be expected below it. An estimate of no distance may fall a little below zero.",
        bar_chart([each.space for each in distances], bars, "measured on", _said(said, rows)),
        [*_legend(), ("training", "your own training takes")],
        ["measured on", "base", "adapted", "floor", "closer by"], rows,
    )  # fmt: skip


def _kept(evaluation: Evaluation) -> list[Chart]:
    kept = evaluation.kept
    if not kept.strengths:
        return []
    rows = [
        [
            f"{each.strength:g}",
            f"{each.distance:.3g}",
            interval(each.above_floor, False) if each.above_floor else "",
            _percent(each.relative),
        ]
        for each in kept.strengths
    ]
    points = [(each.strength, each.distance) for each in kept.strengths]
    far = f" Another player, you, is {kept.player:.3g} away." if kept.player is not None else ""
    return [Chart(
        "Prompts outside of your set",
        f"How far from the base it plays what you did not teach it. The dashed line, {kept.floor:.3g}, is how far the "
        f"base is from itself with other seeds: at that level nothing is lost. Estimates may fall below zero.{far}",
        line_chart([Line("distance", points)], "strength", _said("Distance to the base", rows), floor=kept.floor),
        [("floor", "the base with other seeds")],
        ["strength", "distance", "above the floor", "change of the prediction"], rows,
    )]  # fmt: skip


def _training(log: Sequence[dict[str, Any]]) -> list[Chart]:
    named = [("loss", "loss while training", "training"), ("held_out_loss", "held-out takes", "adapted"),
             ("training_set_loss", "training clips, measured alike", "base")]  # fmt: skip
    lines = []
    for key, name, style in named:
        points = [
            (float(row["step"]), float(row[key]))
            for row in log
            if _number(row.get("step")) and _number(row.get(key))
        ]
        if points:
            lines.append(Line(name, thinned(points), style, dots=key != "loss"))
    if not lines:
        return []
    rows = [
        [
            line.name,
            f"{line.points[0][1]:.4f}",
            f"{line.points[-1][1]:.4f}",
            f"{min(y for _, y in line.points):.4f}",
        ]
        for line in lines
    ]
    return [Chart(
        "Loss over the run",
        "While the two measured losses fall together it learns your playing; where the held-out one rises and the "
        "other falls it learns your files by heart. A long run is shown as means of neighbouring steps.",
        line_chart(lines, "step", _said("Loss over the run; first, last, lowest", rows)),
        [(line.style, line.name) for line in lines], ["loss", "first", "last", "lowest"], rows,
    )]  # fmt: skip


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS points, each the mean of its neighbours: the noise of single steps hides the way."""
    each = math.ceil(len(points) / MOST_POINTS)
    parts = [points[start : start + each] for start in range(0, len(points), each)]
    return [
        (round(sum(x for x, _ in part) / len(part), 1), sum(y for _, y in part) / len(part)) for part in parts
    ]


def interval(figure: Figure, percent: bool = True) -> str:
    """-33 % (-35 to -31 %); without the bounds where there are none, or nothing to draw from."""
    show = (lambda value: f"{100 * value:.3g}") if percent else (lambda value: f"{value:.3g}")
    unit = " %" if percent else ""
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return f"{show(figure.value)}{unit}"
    return f"{show(figure.value)}{unit} ({show(figure.low)} to {show(figure.high)}{unit})"


def _bounds(figure: Figure) -> tuple[float, ...]:
    return () if figure.low is None or figure.high is None else (figure.low, figure.high)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _legend() -> list[tuple[str, str]]:
    return [("base", "base"), ("adapted", "adapted")]


def _said(title: str, rows: Sequence[Sequence[str]]) -> str:
    return f"{title}: " + "; ".join(", ".join(row) for row in rows)

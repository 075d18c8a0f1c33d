"""`woodshed evaluate`: parse, call, print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from finetune.command_line import AsJson, report, words

if TYPE_CHECKING:
    from finetune.evaluation.results import Evaluation, Recommendation
    from finetune.evaluation.score import Settings
    from finetune.recipe import EvaluationGroup


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run, such as runs/mykit.")],
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="best, adapter (the one at the end), or the step of a checkpoint. Unsaid: best, where there is one.",
        ),
    ] = None,
    sounds: Annotated[
        int,
        typer.Option(
            min=2,
            help="Captions of held-out clips that are played, of training clips, and prompts outside the set.",
        ),
    ] = 6,
    seeds: Annotated[int, typer.Option(min=1, help="Sounds for each of them.")] = 2,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Sampling steps of every sound.")] = 30,
    guidance: Annotated[
        float | None,
        typer.Option(min=-100, max=100, help="Guidance of every sound. Unsaid: the recipe's."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Play fewer sounds, so that playing takes about so long.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            min=0.05, max=2, help="Play at this strength. Unsaid: at that of the lowest held-out loss."
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Where the base lies now: starter, a name on the Hub, or a folder.")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="Where the dataset lies now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find out what an adapter does, learned, keeps and copies, and which one to use, at what strength.

    Whether it changes anything; whether held-out takes are likelier with it, and what it plays closer to them; whether
    the base can still do what it could; whether it repeats training clips. Figures carry 95 % intervals. RUN/evaluation
    gets evaluation.json, the sounds in audio/, and a page to listen to; an earlier evaluation is replaced whole.

    The exit code is 0 whatever was found: programs read recommendation.action of --json. docs/evaluate.md says how each
    figure is measured.

    Example: woodshed evaluate runs/mykit --minutes 2
    """
    from finetune.evaluation.score import Settings

    where = str(dataset) if dataset else None
    settings = Settings(adapter, sounds, seeds, steps, guidance, minutes, strength, base, where)
    report(*_evaluated(run, settings, as_json))


def evaluate_at_end(run: Path, group: EvaluationGroup) -> Evaluated:
    """What a recipe's group `evaluation` asks for after training; said, and returned."""
    from finetune.evaluation.score import Settings

    settings = Settings(sounds=group.sounds, seeds=group.seeds, steps=group.steps, minutes=group.minutes)
    done, _, text = _evaluated(run, settings, False)
    words.print(text)
    return done


@dataclass(frozen=True)
class Evaluated:
    """`evaluation` is the file, `page` what to open in a browser."""

    evaluation: Path
    page: Path
    effect: str
    learned: str
    kept: str
    copied: str
    recommendation: Recommendation


def _evaluated(run: Path, settings: Settings, as_json: bool) -> tuple[Evaluated, bool, str]:
    """What was found, whether as JSON, and as text."""
    from finetune.evaluation.evaluate import evaluate as evaluate_run
    from finetune.evaluation.files import FILE, FOLDER
    from finetune.report import write_report

    found = evaluate_run(run, settings)
    done = Evaluated(
        run / FOLDER / FILE,
        write_report(run),
        found.effect.verdict,
        found.learned.verdict,
        found.kept.verdict,
        found.copied.verdict,
        found.recommendation,
    )
    return done, as_json, story(found, done.page)


def story(found: Evaluation, page: Path) -> str:
    """What was found, for a person; what is most urgent first and bold."""
    said = found.recommendation
    lines = []
    if found.effect.verdict == "nothing":
        lines.append(f"[bold red]{escape(found.effect.words)}[/]")
    if found.copied.verdict == "copies":
        lines.append(f"[bold red]{escape(found.copied.words)}[/]")
    lines += [
        f"[bold]{escape(said.action.capitalize())}.[/] {escape(said.words)}",
        f"  Adapter   {escape(found.adapter)}, step {found.step}, on {escape(found.base)}",
        f"  Effect    {escape(found.effect.words)}",
        f"  Learned   {escape(found.learned.words)}",
    ]
    lines += [
        f"            {asked.what}: {100 * asked.adapted:.0f} % of {asked.sounds} sounds as asked, the base "
        f"{100 * asked.base:.0f} %"
        for asked in found.learned.asked
    ]
    lines += [
        f"  Kept      {escape(found.kept.words)}",
        f"  Copied    {escape(found.copied.words)}",
        "Why:",
        *(f"  - {escape(reason)}" for reason in said.reasons),
        f"Hear it: {escape(str(page))}",
    ]
    return "\n".join(lines)

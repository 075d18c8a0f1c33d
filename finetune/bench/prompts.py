"""Single hits asked for by name: is a kick a kick to a judge that learned from real ones?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from finetune.base_model import BaseModel
from finetune.base_model.starter.drums import Kit
from finetune.base_model.starter.grooves import one_shot
from finetune.bench.autoencoder import reconstruct
from finetune.bench.figures import Figure, Grid, Listening, Part
from finetune.evaluation.hits import shipped_judge
from finetune.generate import Request, generate_batch
from finetune.progress import progress_bar

WORDINGS: dict[str, tuple[str, ...]] = {
    "kick": (
        "kick one-shot",
        "Instruments: Drum Kit. one-shot of kick",
        "TrackType: Instrument, Instruments: Drum Kit. one-shot of kick, dry. Length: 1 seconds",
        "a kick drum",
    ),
    "snare": (
        "snare one-shot",
        "Instruments: Drum Kit. one-shot of snare",
        "TrackType: Instrument, Instruments: Drum Kit. one-shot of snare, dry. Length: 1 seconds",
        "a snare drum",
    ),
    "hat": (
        "closed hi-hat one-shot",
        "Instruments: Drum Kit. one-shot of closed hi-hat",
        "TrackType: Instrument, Instruments: Drum Kit. one-shot of closed hi-hat, bright. Length: 1 seconds",
        "a closed hi-hat",
    ),
    "tom": (
        "high tom one-shot",
        "Instruments: Drum Kit. one-shot of floor tom",
        "TrackType: Instrument, Instruments: Drum Kit. one-shot of mid tom. Length: 1.5 seconds",
        "a tom",
    ),
    "cymbal": (
        "crash cymbal one-shot",
        "Instruments: Drum Kit. one-shot of crash cymbal",
        "TrackType: Instrument, Instruments: Drum Kit. one-shot of ride cymbal, bright. Length: 2 seconds",
        "a crash cymbal",
    ),
}
"""What a musician would type: short, in the grammar of captions, in that of whole captions, and as said aloud."""

SECONDS = {"kick": 1.0, "snare": 1.0, "hat": 1.0, "tom": 1.5, "cymbal": 2.0}
PIECES: dict[str, tuple[str, ...]] = {
    "kick": ("kick",),
    "snare": ("snare",),
    "hat": ("closed hi-hat",),
    "tom": ("high tom", "floor tom", "mid tom"),
    "cymbal": ("crash cymbal", "ride cymbal"),
}
"""What the synthesiser plays for each class."""
SILENT_PEAK = 0.01
"""A sound that never reaches -40 dBFS is no hit, whatever it resembles."""
BATCH = 5


@dataclass(frozen=True)
class Hit:
    """One sound that was asked for as `asked` and is, to the judge, a `heard`."""

    asked: str
    prompt: str
    seed: int
    heard: str


def requests(hits_each: int, steps: int, guidance: float) -> dict[str, list[Request]]:
    """For each class `hits_each` requests: its wordings in turn, every one with a seed of its own."""
    return {
        asked: [
            Request(wordings[seed % len(wordings)], SECONDS[asked], seed, steps, guidance)
            for seed in range(hits_each)
        ]
        for asked, wordings in WORDINGS.items()
    }


def classify(sound: np.ndarray) -> str:
    """The judge's word for a (2, samples) sound, or `silence`."""
    return shipped_judge().classify(sound) if np.abs(sound).max() >= SILENT_PEAK else "silence"


def synthesised(hits_each: int) -> Iterator[tuple[str, np.ndarray]]:
    """(class, sound) of hits by the synthesiser that the starter learned from, each on another kit that has it."""
    for asked, pieces in PIECES.items():
        for number in range(hits_each):
            rng = np.random.default_rng([6, number])
            piece = pieces[number % len(pieces)]
            kit = Kit(int(rng.integers(2**31)))
            while piece not in kit.pieces:
                kit = Kit(int(rng.integers(2**31)))
            yield asked, one_shot(kit, piece, float(rng.uniform(0.5, 1.0)), rng).audio


def benchmark(base: BaseModel, hits_each: int, steps: int, guidance: float) -> Part:
    """The part `prompts`: as many hits of each class, judged, and the first of each to hear."""
    hits: list[Hit] = []
    listening = []
    with progress_bar("Prompts", hits_each * len(WORDINGS)) as report:
        for asked, wanted in requests(hits_each, steps, guidance).items():
            first: dict[str, np.ndarray] = {}
            for start in range(0, len(wanted), BATCH):
                batch = wanted[start : start + BATCH]
                for request, sound in zip(batch, generate_batch(base, batch), strict=True):
                    hits.append(Hit(asked, request.prompt, request.seed, classify(sound)))
                    if len(first) < len(WORDINGS[asked]):
                        first[f"“{request.prompt}”: {hits[-1].heard}"] = sound
                report(len(hits), f"{sum(hit.heard == hit.asked for hit in hits)} right")
            listening.append(Listening(f"Asked for: {asked}", first))
    played = [
        Hit(asked, "", 0, classify(reconstruct(base, sound))) for asked, sound in synthesised(hits_each)
    ]
    return Part(
        name="prompts",
        title="Single hits asked for by name",
        figures=figures(hits, played),
        notes=notes(),
        grids=[
            grid("Asked for (rows), heard as (columns)", confusion(hits)),
            grid(
                "Played by the synthesiser (rows), heard through the autoencoder as (columns)",
                confusion(played),
            ),
        ],
        details={
            "confusion": confusion(hits),
            "wordings": by_wording(hits),
            "judge": judge_facts(),
            "synthesised": confusion(played),
        },
        listening=listening,
    )


def figures(hits: list[Hit], played: list[Hit]) -> list[Figure]:
    """The share that is heard as asked, in all and for each class; that of the synthesiser; the judge's own."""

    def share(of: list[Hit]) -> float:
        return 100 * float(np.mean([hit.heard == hit.asked for hit in of]))

    each = [Figure(f"{asked} heard as {asked}", share(_asked(hits, asked)), "%") for asked in WORDINGS]
    judge = judge_facts()
    return [
        Figure(f"hits heard as asked, of {len(hits)}", share(hits), "%", at_least=85),
        *each,
        Figure("the synthesiser's own through the autoencoder", share(played), "%"),
        Figure("the judge on real hits it never heard", 100 * judge["accuracy"], "%", at_least=90),
    ]


def confusion(hits: list[Hit]) -> dict[str, dict[str, int]]:
    """Asked → heard → how many."""
    return {asked: dict(Counter(hit.heard for hit in _asked(hits, asked))) for asked in WORDINGS}


def grid(title: str, confused: dict[str, dict[str, int]]) -> Grid:
    """The confusion as a table: a row for what was asked, a column for what was heard."""
    heard = [*WORDINGS, "silence"]
    rows = [[asked, *(str(counts.get(word, 0)) for word in heard)] for asked, counts in confused.items()]
    return Grid(title, ["", *heard], rows)


def by_wording(hits: list[Hit]) -> dict[str, str]:
    """Prompt → `right of asked`."""
    right, all_of = (
        Counter(hit.prompt for hit in hits if hit.heard == hit.asked),
        Counter(h.prompt for h in hits),
    )
    return {prompt: f"{right[prompt]} of {count}" for prompt, count in all_of.items()}


def judge_facts() -> dict[str, float]:
    """What hits.json says of the judge: how often it was right about files that were left out."""
    text = (files("finetune.evaluation") / "hits.json").read_text("utf-8")
    heard = json.loads(text)["leave_one_file_out"]
    return {
        name: heard[name]
        for name in ("files", "accuracy", "mean_accuracy_of_classes", "accuracy_with_variations")
    }


def notes() -> list[str]:
    judge = judge_facts()
    return [
        f"A hit is judged by linear discriminants on descriptors of {judge['files']:.0f} real CC0 one-shots "
        f"(finetune/evaluation/hits.json), which name {100 * judge['accuracy']:.0f} % of those right when the file "
        "itself is left out.",
        "Every class is asked for in four wordings, each sound with another seed. Beside it, as the most there is to "
        "reach: hits of the synthesiser that the starter learned from, encoded and decoded.",
    ]


def _asked(hits: list[Hit], asked: str) -> list[Hit]:
    return [hit for hit in hits if hit.asked == asked]

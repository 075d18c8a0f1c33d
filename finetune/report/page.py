"""The page as one HTML file, `runs/<name>/report.html`: sounds, pictures, style and script within, no connection."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml
from markupsafe import Markup

from finetune.errors import WoodshedError
from finetune.evaluation.files import FOLDER, read_evaluation
from finetune.evaluation.results import Evaluation
from finetune.files import write_file
from finetune.progress import progress_bar
from finetune.provenance import Described, describe
from finetune.provenance.claims import portable
from finetune.report.cards import ACTION_TONES, HEADLINES, cards
from finetune.report.figures import figures
from finetune.report.rows import Rows, arrange
from finetune.report.sounds import (
    LOUDEST_LUFS,
    Heard,
    as_base64,
    check_place,
    choose_format,
    encode,
    gains,
    loudness,
    picture,
    read_sound,
)
from finetune.run_folder import recipe_of
from finetune.tracking.log import read_log

PAGE = "report.html"
SCRIPTS = ("player.js", "listen.js", "blind.js")
MIME = {"flac": "audio/flac", "opus": "audio/ogg"}


def write_report(run: Path) -> Path:
    """Write the page of what `woodshed evaluate` found, whole or not at all; an earlier one is replaced.

    Raises WoodshedError where there is no evaluation, it is damaged, or a sound of it is missing or cannot be read.
    """
    evaluation = read_evaluation(run)
    rows = arrange(evaluation)
    heard, kind = hear(run, rows)
    try:
        write_file(run / PAGE, render(run, evaluation, rows, heard, kind).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise WoodshedError(f"'{run / PAGE}' could not be written: {error.strerror}.") from error
    return run / PAGE


def hear(run: Path, rows: Rows) -> tuple[dict[str, Heard], str]:
    """Sound id → that sound as the page holds it, of all that is in a row; and how it is encoded."""
    sounds = {take.sound.id: take.sound for row in rows.all() for take in row.takes}
    paths = {name: check_place(run / FOLDER, sound.file) for name, sound in sounds.items()}
    missing = sorted(sounds[name].file for name, path in paths.items() if not path.is_file())
    if missing:
        raise WoodshedError(
            f"'{run / FOLDER}' lacks the sound {missing[0]}{f' and {len(missing) - 1} more' if missing[1:] else ''}; "
            f"make it anew with: woodshed evaluate {run}"
        )
    kind = choose_format(list(paths.values()), sum(len(row.takes) for row in rows.all()))
    levels = {}
    for name, path in paths.items():
        sound = read_sound(path)
        levels[name] = (loudness(sound), float(np.abs(sound).max()))
    gain = gains(levels)
    heard = {}
    with progress_bar("Page", len(paths)) as report:
        for number, (name, path) in enumerate(paths.items(), start=1):
            sound = read_sound(path)  # read twice, so that not all are in memory at once
            heard[name] = Heard(
                audio=encode(path, sound, kind),
                picture=picture(sound, LOUDEST_LUFS - (levels[name][0] or LOUDEST_LUFS)),
                seconds=sound.shape[1] / 44_100,
                lufs=levels[name][0],
                gain_db=gain[name],
            )
            report(number, "")
    return heard, kind


def render(run: Path, evaluation: Evaluation, rows: Rows, heard: dict[str, Heard], kind: str) -> str:
    """The page as text. Everything that comes from outside is data: escaped, or JSON that no tag can end."""
    style, script = _source("style.css"), '"use strict";\n' + "\n".join(_source(name) for name in SCRIPTS)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    recommendation = evaluation.recommendation
    provenance = provenance_of(run, recommendation.folder)
    return environment.from_string(_source("page.html")).render(
        evaluation=evaluation,
        headline=HEADLINES[recommendation.action],
        tone=ACTION_TONES[recommendation.action],
        cards=cards(evaluation),
        rows=rows,
        heard=heard,
        groups=figures(evaluation, read_log(run)),
        recipe=recipe_text(run),
        provenance=provenance,
        verify=shlex.join(["woodshed", "verify", _short(run / recommendation.folder, run)]),
        kind=kind,
        picture=lambda name: f"data:image/png;base64,{as_base64(heard[name].picture)}",
        data=embedded(page_data(rows, heard, kind)),
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
    )


def page_data(rows: Rows, heard: dict[str, Heard], kind: str) -> dict[str, Any]:
    """What the script needs: sounds as base64 with their gain, the rows, and the pairs of the blind test."""
    return {
        "mime": MIME[kind],
        "sounds": {
            name: {"audio": as_base64(each.audio), "gain": each.gain_db, "seconds": each.seconds}
            for name, each in heard.items()
        },
        "rows": {
            row.id: {
                "seconds": row.seconds,
                "takes": [
                    {"sound": take.sound.id, "name": take.name, "begins": take.begins} for take in row.takes
                ],
            }
            for row in rows.all()
        },
        "blind": [
            {"base": base, "adapted": adapted, "own": own, "prompt": prompts[base]}
            for prompts in [{take.sound.id: take.sound.prompt for row in rows.all() for take in row.takes}]
            for base, adapted, own in rows.blind
        ],
    }


def embedded(data: Any) -> Markup:
    """JSON for within a script element: `<`, `>` and `&` as escapes, so that no text of it ends or opens a tag."""
    text = json.dumps(data, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def provenance_of(run: Path, folder: str) -> Described | None:
    """What the recommended adapter says of what it was made from; None where it is not there any more."""
    for path in (run / folder, run):
        try:
            if path.resolve().is_relative_to(run.resolve()):
                return describe(path)
        except WoodshedError:
            continue
    return None


def _short(path: Path, run: Path) -> str:
    """As a user names it, runs/mykit/best, and not where on this machine the runs lie."""
    return path.resolve().relative_to(run.resolve().parent.parent).as_posix()


def recipe_text(run: Path) -> str | None:
    """Every key of the run's recipe that holds on another machine too, folders by their names alone: a page is for
    others. None where recipe.yaml is not there any more, or is none."""
    try:
        return yaml.safe_dump(portable(recipe_of(run)), sort_keys=False, allow_unicode=True)
    except WoodshedError:
        return None


def _source(name: str) -> str:
    return (files("finetune.report") / "page" / name).read_text("utf-8")


def _csp_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"

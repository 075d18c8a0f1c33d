"""The folder of an evaluation, `RUN/evaluation/`: evaluation.json and the sounds beside it in `audio/`."""

from __future__ import annotations

import json
import types
from collections.abc import Iterable
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from finetune.audio_files import write_audio
from finetune.errors import WoodshedError
from finetune.evaluation.results import Evaluation
from finetune.files import remove_leftovers, write_folder

FOLDER, FILE, AUDIO = "evaluation", "evaluation.json", "audio"


def write_evaluation(
    run: Path, evaluation: Evaluation, sounds: Iterable[tuple[str, np.ndarray]], sample_rate: int
) -> Path:
    """Write the folder beside and rename it; an earlier evaluation is replaced whole. Returns evaluation.json.

    `sounds`: (file, (2, samples)) for each of `evaluation.sounds`, as FLAC of 16 bits.
    """
    remove_leftovers(run)
    captions = {sound.file: sound.prompt for sound in evaluation.sounds}
    with write_folder(run / FOLDER) as beside:
        (beside / AUDIO).mkdir()
        for file, sound in sounds:
            write_audio(beside / file, sound, sample_rate, 16, {"prompt": captions[file]})
        missing = [file for file in captions if not (beside / file).is_file()]
        if missing:
            raise ValueError(f"The sounds {', '.join(missing)} were named and not given.")
        text = json.dumps(asdict(evaluation), indent=1, ensure_ascii=False) + "\n"
        (beside / FILE).write_text(text, encoding="utf-8")
    return run / FOLDER / FILE


def read_evaluation(run: Path) -> Evaluation:
    """What `write_evaluation` wrote. Raises WoodshedError where there is none, or it is damaged."""
    file = run / FOLDER / FILE
    again = f"make it with: woodshed evaluate {run}"
    if not file.is_file():
        raise WoodshedError(f"'{run}' has no evaluation; {again}")
    try:
        return _build(Evaluation, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WoodshedError(f"'{file}' is damaged or of another version ({error}); {again}") from error


def _build(kind: Any, value: Any) -> Any:
    """`value`, plain JSON, as the annotated type `kind`. Raises TypeError or ValueError where it is not that."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _build(next(one for one in inner if one is not type(None)), value)
    if origin is list:
        if not isinstance(value, list):
            raise TypeError(f"{value!r} is no list")
        return [_build(inner[0], each) for each in value]
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{value!r} is none of {', '.join(map(repr, inner))}")
        return value
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise TypeError(f"{value!r} is no {kind}")
        hints, known = get_type_hints(kind), {field.name for field in fields(kind)}
        return kind(**{name: _build(hints[name], each) for name, each in value.items() if name in known})  # type: ignore[operator]
    if kind is float and isinstance(value, int):
        return float(value)
    if kind in (float, int, str) and not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value

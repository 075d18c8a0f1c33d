"""The benchmark as one HTML file: every figure with its target, and the sounds side by side with their pictures."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from importlib.resources import files

import jinja2
import numpy as np
import soundfile as sf

from finetune.bench.figures import Part
from finetune.pictures import spectrogram_png
from finetune.progress import progress_bar


@dataclass(frozen=True)
class Sound:
    """A sound as the page holds it: FLAC and PNG as data URLs, nothing outside the file."""

    name: str
    audio: str
    picture: str


def render(parts: list[Part], machine: str, sample_rate: int) -> str:
    """The page, self-contained."""
    source = (files("finetune.bench") / "page.html").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    verdicts = [figure.reached for part in parts for figure in part.figures if figure.reached is not None]
    return template.render(
        parts=parts,
        machine=machine,
        reached=sum(verdicts),
        aimed=len(verdicts),
        listening=_listening(parts, sample_rate),
    )


def embed(name: str, sound: np.ndarray, sample_rate: int) -> Sound:
    """A (2, samples) sound, 16-bit, with its spectrogram."""
    encoded = io.BytesIO()
    sf.write(encoded, np.clip(sound, -1, 1).T, sample_rate, subtype="PCM_16", format="FLAC")
    return Sound(
        name,
        _data_url("audio/flac", encoded.getvalue()),
        _data_url("image/png", spectrogram_png(sound, sample_rate)),
    )


def _listening(parts: list[Part], sample_rate: int) -> dict[str, list[tuple[str, list[Sound]]]]:
    """Part → (title, its sounds) of all that is there to hear."""
    total = sum(len(row.sounds) for part in parts for row in part.listening)
    done, heard = 0, {}
    with progress_bar("Page", total) as report:
        for part in parts:
            rows = []
            for row in part.listening:
                sounds = [embed(name, sound, sample_rate) for name, sound in row.sounds.items()]
                rows.append((row.title, sounds))
                done += len(sounds)
                report(done, "")
            heard[part.name] = rows
    return heard


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"

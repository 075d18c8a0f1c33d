"""Spectrograms to look at."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import librosa
import matplotlib
import numpy as np

from finetune.files import write_file

matplotlib.use("Agg")
from matplotlib import pyplot

LOWEST_DB, HIGHEST_DB = -70, 30
HOP = 256
GREY = "#808080"  # can be read on white and on black


def draw_spectrograms(path: Path, title: str, sounds: dict[str, np.ndarray], sample_rate: int) -> None:
    """One mel spectrogram for each (2, samples) sound, above each other with one scale of level and time, as PNG."""
    figure, axes = pyplot.subplots(
        len(sounds), 1, figsize=(11, 3 * len(sounds)), sharex=True, squeeze=False, layout="constrained"
    )
    for axis, (name, sound) in zip(axes[:, 0], sounds.items(), strict=True):
        image = _draw(axis, sound, sample_rate)
        axis.set(title=name, xlabel="seconds", ylabel="Hz")
    figure.colorbar(image, ax=axes, format="%+d dB")
    figure.suptitle(title, fontsize=9, wrap=True)
    write_file(path, _png(figure, dpi=80))


def spectrogram_png(sound: np.ndarray, sample_rate: int) -> bytes:
    """A small mel spectrogram of a (2, samples) sound for a page, on a background that lets the page's through."""
    figure, axis = pyplot.subplots(figsize=(5, 1.9), layout="constrained")
    _draw(axis, sound, sample_rate)
    axis.set_xlabel("seconds", color=GREY, fontsize=8)
    axis.set_ylabel("Hz", color=GREY, fontsize=8)
    axis.tick_params(colors=GREY, labelsize=7)
    axis.spines[:].set_visible(False)
    return _png(figure, dpi=110, transparent=True)


def _png(figure: Any, dpi: int, transparent: bool = False) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, dpi=dpi, transparent=transparent, format="png")
    pyplot.close(figure)
    return picture.getvalue()


def _draw(axis: Any, sound: np.ndarray, sample_rate: int) -> Any:
    """The mel spectrogram of the mean of the channels, on one scale of level whatever the sound."""
    mel = librosa.feature.melspectrogram(
        y=sound.mean(0), sr=sample_rate, n_fft=2048, hop_length=HOP, n_mels=96
    )
    return librosa.display.specshow(
        librosa.power_to_db(mel, ref=1.0, top_db=None),
        sr=sample_rate,
        hop_length=HOP,
        x_axis="time",
        y_axis="mel",
        vmin=LOWEST_DB,
        vmax=HIGHEST_DB,
        ax=axis,
        cmap="magma",
    )

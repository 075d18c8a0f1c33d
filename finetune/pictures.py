"""Spectrograms to look at."""

from __future__ import annotations

from pathlib import Path

import librosa
import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot


def draw_pair(path: Path, title: str, sounds: dict[str, np.ndarray], sample_rate: int) -> None:
    """One mel spectrogram for each (2, samples) sound, above each other with one scale of level and time, as PNG."""
    figure, axes = pyplot.subplots(
        len(sounds), 1, figsize=(11, 3 * len(sounds)), sharex=True, layout="constrained"
    )
    for axis, (name, sound) in zip(axes, sounds.items(), strict=True):
        mel = librosa.feature.melspectrogram(
            y=sound.mean(0), sr=sample_rate, n_fft=2048, hop_length=256, n_mels=96
        )
        level = librosa.power_to_db(mel, ref=1.0, top_db=None)
        image = librosa.display.specshow(
            level,
            sr=sample_rate,
            hop_length=256,
            x_axis="time",
            y_axis="mel",
            vmin=-70,
            vmax=30,
            ax=axis,
            cmap="magma",
        )
        axis.set(title=name, xlabel="seconds", ylabel="Hz")
    figure.colorbar(image, ax=axes, format="%+d dB")
    figure.suptitle(title, fontsize=9, wrap=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)

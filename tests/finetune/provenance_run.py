"""A run from recordings to a signed adapter, made once, for the tests of provenance: a few seconds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from conftest import make_recipe

from data_prep import Rights, Settings, prepare
from data_prep.ownership.rights import Basis
from data_prep.slicing.slices import Slicing
from finetune.provenance.keys import make_key
from finetune.trainer import train


@dataclass(frozen=True)
class Road:
    """The folders of the road; `run` is that of a run with an adapter and a best one."""

    takes: Path
    dataset: Path
    run: Path
    base: Path

    def copy(self, to: Path) -> Road:
        """The same elsewhere, to be tampered with."""
        for name in ("takes", "dataset", "runs"):
            shutil.copytree(self.takes.parent / name, to / name)
        return Road(to / "takes", to / "dataset", to / "runs" / self.run.name, self.base)


def walk(root: Path, base: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> Road:
    """Prepare five takes and train six steps on them, with a key in `config`."""
    monkeypatch.setenv("WOODSHED_CONFIG", str(config))
    make_key()
    takes = root / "takes"
    takes.mkdir(parents=True)
    for number in range(5):
        write_take(takes / ("täke 3 🥁.wav" if number == 3 else f"take {number}.wav"), seed=number)
    settings = Settings(Slicing.fixed, seconds=0.5, validation=0.3)
    prepare(takes, root / "dataset", Rights(Basis.own_recording, "Ada"), settings, workers=1)
    recipe = make_recipe(base, root / "dataset", root / "runs")
    return Road(takes, root / "dataset", train(recipe).run, base)


def write_take(path: Path, seed: int) -> None:
    """A second and a half of hits at uneven distances, each a decaying burst of noise."""
    draw = np.random.default_rng([seed, 11])
    sound = np.zeros((66_150, 2))
    for start in np.cumsum(draw.integers(7_000, 12_000, 7)):
        hit = draw.standard_normal((4_000, 2)) * np.exp(-np.arange(4_000) / 600)[:, None]
        end = min(len(sound), start + len(hit))
        sound[start:end] += 0.2 * hit[: max(0, end - start)]
    sf.write(path, sound, 44_100, subtype="PCM_24")

"""Woodshed answers as Stability's own code does: the transformer, SAME, prompts, sampling, a training step.

The fixtures are what that code answered on seeded random weights, written by `tests/tools/stability_golden.py`; here
the same weights are made again and asked the same. Other processors round otherwise, hence the tolerances: shares of
the largest value of each output.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetune.base_model import load_base
from tests.tools import parity_ours
from tests.tools.golden import digest, error, read_golden
from tests.tools.random_checkpoint import default_dtype, write_checkpoint
from tests.tools.stability_geometry import GEOMETRIES, checkpoint_shapes, same_shapes, text_encoder_shapes

TINY, REAL = ("tiny", "tiny-medium"), ("small", "medium")
OUTPUT, GRADIENT, GENERATION = 1e-5, 1e-4, 1e-4
SAMPLERS = ("euler", "pingpong", "dpmpp")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Converted weights of a real size are gigabytes, which go when the test does."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))


def compare(name: str, folder: Path) -> None:
    golden = read_golden(name)
    write_checkpoint(folder, GEOMETRIES[name], dtype=default_dtype(name))
    outputs = parity_ours.outputs(name, load_base(str(folder)))
    assert outputs.keys() == golden.keys()
    errors = {item: error(item, output, golden[item]) for item, output in outputs.items()}
    assert not {item: share for item, share in errors.items() if not share <= limit(item)}


def limit(item: str) -> float:
    """A whole generation adds up the rounding of all its steps."""
    if "gradient" in item:
        return GRADIENT
    return GENERATION if item.startswith(SAMPLERS) else OUTPUT


@pytest.mark.parametrize("name", TINY)
def test_answers_are_stability_s(name: str, tmp_path: Path) -> None:
    compare(name, tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_answers_are_stability_s_at_real_size(name: str, tmp_path: Path) -> None:
    """Takes 5 GB of memory and minutes on one core."""
    compare(name, tmp_path / name)


def test_a_digest_sees_one_wrong_value() -> None:
    output = torch.linspace(-1, 1, 5000)
    golden = digest("item", output)
    assert error("item", output, golden) == 0
    for place in (0, 777, 4999):
        wrong = output.clone()
        wrong[place] += 0.1
        assert error("item", wrong, golden) > 1e-4


def test_random_checkpoints_have_the_published_numbers_of_parameters() -> None:
    """459.1 M and 1453.2 M in the transformer, 108.2 M and 852.1 M in SAME, 281.6 M in T5Gemma's encoder."""
    for name, transformer, same in (("small", 459.1, 108.2), ("medium", 1453.2, 852.1)):
        geometry = GEOMETRIES[name]
        assert millions(checkpoint_shapes(geometry), "model.model.") == pytest.approx(transformer, abs=0.05)
        assert millions(same_shapes(geometry)) == pytest.approx(same, abs=0.05)
        assert millions(text_encoder_shapes(geometry)) == pytest.approx(281.6, abs=0.05)


def millions(shapes: dict[str, tuple[int, ...]], prefix: str = "") -> float:
    """Parameters of the tensors whose name begins with `prefix`; rotary frequencies are none."""
    counted = [s for name, s in shapes.items() if name.startswith(prefix) and not name.endswith("inv_freq")]
    return sum(torch.Size(shape).numel() for shape in counted) / 1e6

"""The contest with Stability's code: Woodshed's side of it at tiny size, and the sums of the table."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tools.adapters import light
from tests.tools.random_checkpoint import write_checkpoint
from tests.tools.reference_case import Task, make_case
from tests.tools.reference_contestant import measure
from tests.tools.reference_speed import Result, reference_of, row, table, tasks, together
from tests.tools.reference_stability import Float32Products
from tests.tools.stability_geometry import checkpoint_shapes

MEASURED = {
    "step_seconds": [1.0, 2.0, 3.0],
    "cpu_seconds": [1.0, 1.0, 1.0],
    "losses": [2.0, 1.0],
    "own": 3_000_000_000,
    "mapped": 4_000_000_000,
    "imported_own": 1_000_000_000,
    "imported_mapped": 1_500_000_000,
    "high_water": 5_000_000_000,
    "cuda": None,
    "trained": 100,
}
SLOWER = {**MEASURED, "own": 5_000_000_000, "step_seconds": [4.0, 4.0, 4.0]}
THEIRS = Result("stability", "lora", "fp32", True, False, False, SLOWER, None)
OURS = Result("woodshed", "lora", "fp32", False, False, False, MEASURED, None)


def test_woodshed_trains_the_case_and_names_the_layers_it_adapts(tmp_path: Path) -> None:
    geometry = light("tiny")
    write_checkpoint(tmp_path / "tiny", geometry)
    task = Task(
        "woodshed",
        "dora",
        "fp32",
        True,
        False,
        False,
        "",
        str(tmp_path / "tiny"),
        "attention",
        21,
        4,
        1,
        2,
        1,
    )
    measured = measure(task)
    names = json.loads(task.names_file.read_text())
    assert len(names) == 5 * geometry.depth
    assert all(f"{name}.weight" in checkpoint_shapes(geometry) for name in names)
    assert len(measured.step_seconds) == 2
    assert measured.losses[-1] < measured.losses[0]  # three steps on the same numbers
    assert measured.mapped > measured.own > 0
    assert measured.high_water > 0.9 * measured.mapped  # Linux counts the two at different moments
    assert make_case(task).latents.shape == (1, geometry.latent_channels, 21)


def test_woodshed_comes_first_and_stability_at_the_bases_it_has() -> None:
    arguments = Namespace(
        adapter=["lora"],
        base_dtype=["fp32", "nf4"],
        compile=False,
        lend_products=False,
        checkout=Path("there"),
        targets="all",
        frames=216,
        rank=16,
        threads=2,
        steps=5,
        warm_up=1,
    )
    order = [(task.code, task.base, task.checkpointing) for task in tasks(arguments, Path("folder"))]
    assert order == [
        ("woodshed", "fp32", False),
        ("woodshed", "fp32", True),
        ("stability", "fp32", True),
        ("woodshed", "nf4", False),
        ("woodshed", "nf4", True),
    ]


def test_ratios_are_ours_over_theirs() -> None:
    line = row(OURS, reference_of(OURS, [OURS, THEIRS]))
    assert line["step_seconds_speed"] == 2.0
    assert line["cpu_seconds_speed"] == 1.0
    assert line["own_gb_ratio"] == pytest.approx(0.6)
    assert line["own_over_imports_gb_ratio"] == pytest.approx(0.5)
    assert "| lora | fp32 | woodshed | 2 | 2.00 | 1 | 1.00 | 3.00 | 0.60 |" in table([line])


def test_a_quantised_base_is_compared_with_the_half_precision_one_that_finished() -> None:
    ours = replace(OURS, base="nf4")
    slow = replace(THEIRS, base="bf16", measured=None, failure="over 600 s")
    half = replace(THEIRS, base="bf16")
    assert reference_of(ours, [THEIRS, half]) == half
    assert reference_of(ours, [THEIRS, slow]) == THEIRS
    assert reference_of(ours, [slow]) is None
    assert "| over 600 s |" in table([row(slow, None)])


def test_contestants_that_do_not_train_the_same_are_not_compared() -> None:
    for change in ({"trained": 99}, {"losses": [2.1]}):
        other = replace(OURS, measured={**MEASURED, **change})
        with pytest.raises(ValueError, match=r"99 numbers|begins with the loss 2\.1"):
            reference_of(other, [other, THEIRS])


def test_rounds_together_take_every_step_and_the_largest_peak() -> None:
    again = replace(OURS, measured={**MEASURED, "step_seconds": [9.0, 9.0, 9.0], "own": 3_500_000_000})
    both = together([OURS, again])
    assert both.measured is not None
    assert both.measured["step_seconds"] == [1.0, 2.0, 3.0, 9.0, 9.0, 9.0]
    assert both.measured["own"] == 3_500_000_000
    assert together([OURS, replace(OURS, measured=None, failure="gone")]).failure == "gone"


def test_lent_products_are_those_of_float32_rounded_once_and_keep_the_type() -> None:
    x, w = (torch.randn(8, 8, generator=torch.Generator().manual_seed(i)).bfloat16() for i in (1, 2))
    w.requires_grad_()
    with Float32Products():
        product = x @ w
        product.sum().backward()
        heard = torch.nn.functional.scaled_dot_product_attention(*(3 * [x[None, None]]))
    assert torch.equal(product, (x.float() @ w.float()).bfloat16())
    assert w.grad is not None
    assert torch.equal(w.grad, (x.float().T @ torch.ones(8, 8)).bfloat16())
    assert heard.dtype == torch.bfloat16

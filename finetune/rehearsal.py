"""How fast a recipe trains here, found by training a little and throwing it away."""

from __future__ import annotations

import shutil
from dataclasses import replace

from finetune.recipe import Recipe
from finetune.tracking import read_log
from finetune.trainer import train

STEPS = 30


def affordable_steps(recipe: Recipe, minutes: float) -> int:
    """How many steps of `recipe` fit into `minutes` on this machine; its dataset is encoded on the way."""
    short = replace(recipe, name="rehearsal", training=replace(recipe.training, steps=STEPS))
    rehearsal = train(short)
    rows = [row for row in read_log(rehearsal.run) if "steps_per_second" in row]
    shutil.rmtree(rehearsal.run)
    early, late = (row["step"] / row["steps_per_second"] for row in (rows[1], rows[-1]))  # since the start
    steps_per_second = (rows[-1]["step"] - rows[1]["step"]) / (late - early)
    return max(STEPS, round(minutes * 60 * steps_per_second))

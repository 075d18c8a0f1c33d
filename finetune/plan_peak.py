"""The peak memory of a recipe, in bytes, on stdout: python -m finetune.plan_peak RECIPE [KEY=VALUE ...].

A process of its own for each recipe: what one leaves behind in memory would count for the next.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from finetune.plan import make_plan
from finetune.recipe import load_recipe

OUT_OF_MEMORY = 137


def main() -> None:
    try:
        print(make_plan(load_recipe(Path(sys.argv[1]), sys.argv[2:])).peak_bytes)
    except (torch.OutOfMemoryError, MemoryError):
        sys.exit(OUT_OF_MEMORY)


if __name__ == "__main__":
    main()

"""Run Stability's own code on seeded random weights, and keep its answers as fixtures or compare ours with them.

    python -m tests.tools.stability_golden CHECKOUT [GEOMETRY ...]             write the fixtures
    python -m tests.tools.stability_golden CHECKOUT [GEOMETRY ...] --compare   print the differences on this machine

CHECKOUT is a checkout of Stability-AI/stable-audio-3 (the fixtures: commit 636f906), in an environment that has what
its package imports, and Woodshed. Without flash_attn, as on a CPU, it attends by scaled_dot_product_attention.
`medium` takes 12 GB of memory. What is switched off in their code is told in `stability_outputs`.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import constants

from finetune.base_model import load_base
from tests.tools import parity_ours, stability_outputs
from tests.tools.golden import write_golden
from tests.tools.random_checkpoint import default_dtype, write_checkpoint
from tests.tools.stability_geometry import GEOMETRIES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.stability_golden", description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("geometry", nargs="*", help=f"of {', '.join(GEOMETRIES)}; default: all")
    parser.add_argument("--compare", action="store_true")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.checkout))
    torch.set_num_threads(1)
    for name in arguments.geometry or GEOMETRIES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / name
            write_checkpoint(folder, GEOMETRIES[name], dtype=default_dtype(name))
            theirs = stability_outputs.outputs(name, stability_outputs.load(folder))
            gc.collect()
            if arguments.compare:
                constants.HF_HUB_CACHE = str(Path(temporary) / "cache" / "hub")
                compare(name, theirs, parity_ours.outputs(name, load_base(str(folder))))
            else:
                path = write_golden(name, theirs)
                print(f"{path.name}: {len(theirs)} outputs, {path.stat().st_size} bytes")


def compare(name: str, theirs: dict[str, torch.Tensor], ours: dict[str, torch.Tensor]) -> None:
    """A line for each output: the largest absolute difference, and as a share of the largest value."""
    if theirs.keys() != ours.keys():
        raise ValueError(f"outputs differ: {sorted(theirs.keys() ^ ours.keys())}")
    for item, output in theirs.items():
        difference = float((ours[item].double() - output.double()).abs().max())
        print(f"{name:12} {item:100} {difference:9.2e} {difference / float(output.abs().max()):9.2e}")


if __name__ == "__main__":
    main()

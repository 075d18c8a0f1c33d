"""Write a checkpoint in Stability's layout with seeded random weights: configuration, weights, text encoder.

    python -m tests.tools.random_checkpoint small|medium|tiny|tiny-medium [FOLDER]

A number depends on the seed, the name of its tensor and its place there alone, and every machine makes the same file.
Weights are uniform and scaled to keep activations near one; nothing is zero. Buffers (rotary frequencies) are those
of the formula and stay float32 in 16-bit files.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from finetune.files import write_folder
from tests.tools.draws import unit_blocks
from tests.tools.stability_geometry import (
    FOURIER_CHANNELS,
    GEOMETRIES,
    TEXT_FOLDER,
    Geometry,
    Shapes,
    checkpoint_shapes,
    model_config,
    text_encoder_config,
    text_encoder_shapes,
)

FOURIER_LAYERS = ("to_timestep_embed.0.weight", "seconds_total.embedder.embedding.1.weight")
DTYPES = {"fp32": ("F32", torch.float32), "fp16": ("F16", torch.float16), "bf16": ("BF16", torch.bfloat16)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.random_checkpoint", description=__doc__)
    parser.add_argument("geometry", choices=GEOMETRIES)
    parser.add_argument("folder", type=Path, nargs="?", help="default: random-GEOMETRY here")
    parser.add_argument("--objective", choices=("rectified_flow", "rf_denoiser"), default="rectified_flow")
    parser.add_argument("--dtype", choices=DTYPES, help="default: fp32, for medium fp16 (5 GB instead of 10)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    name = arguments.geometry
    dtype = arguments.dtype or default_dtype(name)
    folder = arguments.folder or Path(f"random-{name}")
    write_checkpoint(folder, GEOMETRIES[name], arguments.objective, dtype, arguments.seed)
    print(f"{folder}: {name}, {arguments.objective}, {dtype}, seed {arguments.seed}")


def default_dtype(name: str) -> str:
    return "fp16" if name == "medium" else "fp32"


def write_checkpoint(
    folder: Path,
    geometry: Geometry,
    objective: str = "rectified_flow",
    dtype: str = "fp32",
    seed: int = 0,
) -> None:
    """The whole folder, in the place of one that was there."""
    with write_folder(folder) as new:
        (new / "model_config.json").write_text(json.dumps(model_config(geometry, objective), indent=2) + "\n")
        write_tensors(new / "model.safetensors", checkpoint_shapes(geometry), dtype, seed)
        text = new / TEXT_FOLDER
        text.mkdir()
        (text / "config.json").write_text(json.dumps(text_encoder_config(geometry), indent=2) + "\n")
        write_tensors(text / "model.safetensors", text_encoder_shapes(geometry), dtype, seed)
        _copy_tokenizer(text)


def _copy_tokenizer(folder: Path) -> None:
    """The starter's tokenizer, without its limit of length, which Gemma's tokenizer has not either."""
    source = Path(str(files("finetune.base_model.starter") / "weights" / "tokenizer"))
    shutil.copy(source / "tokenizer.json", folder)
    config = json.loads((source / "tokenizer_config.json").read_text())
    config["model_max_length"] = int(1e30)
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_tensors(path: Path, shapes: Shapes, dtype: str, seed: int) -> None:
    """A safetensors file of random tensors, a block of values after the other."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        code, kind = _stored_as(name, dtype)
        start, end = end, end + math.prod(shape) * kind.itemsize
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            _write_tensor(file, name, shape, dtype, seed)


def _write_tensor(file: BinaryIO, name: str, shape: tuple[int, ...], dtype: str, seed: int) -> None:
    _, kind = _stored_as(name, dtype)
    for values in value_blocks(name, shape, seed):
        file.write(torch.from_numpy(values).to(kind).view(torch.uint8).numpy().tobytes())


def _stored_as(name: str, dtype: str) -> tuple[str, torch.dtype]:
    return DTYPES["fp32" if name.endswith("inv_freq") else dtype]


def value_blocks(name: str, shape: tuple[int, ...], seed: int) -> Iterator[np.ndarray]:
    """The values of one tensor, flat float32, in blocks."""
    if name.endswith("inv_freq"):
        channels = 2 * shape[0]
        steps = torch.arange(0, channels, 2).float() / channels
        yield (1.0 / (10000**steps)).numpy()
        return
    mean, scale = _mean_and_scale(name, shape)
    for values in unit_blocks(name, math.prod(shape), seed):
        if name.endswith(FOURIER_LAYERS):  # small enough for one block
            values = (values.reshape(-1, FOURIER_CHANNELS) * fourier_columns()).ravel()
        yield np.float32(mean) + values * np.float32(scale)


def fourier_columns() -> np.ndarray:
    """(256,) powers of two that fall with the frequency of each Fourier feature (0.5 to 10000, cosines then sines).

    One bit of a time turns the highest feature by half a hundredth. With even weights, processors that round a time or
    an exponential otherwise would disagree in the third digit of everything.
    """
    octaves = np.linspace(0, math.log2(20000), FOURIER_CHANNELS // 2)
    column = 2.0 ** (2 - np.round(octaves))
    return np.concatenate([column, column]).astype(np.float32)


def _mean_and_scale(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation: weights by fan-in, gains near one, everything else small but never zero."""
    last = name.rsplit(".", 1)[-1]
    if "norm.weight" in name:  # Gemma's gains are 1 + weight
        return 0.0, 0.1
    if last in ("gamma", "alpha", "scaling_factor", "running_std"):
        return 1.0, 0.1
    if last == "weight_g":  # length of a row: the decoder's are short, so that audio stays within -1..1
        return (0.04, 0.004) if "decoder" in name else (1.0, 0.1)
    if last in ("weight", "weight_v"):
        return 0.0, math.prod(shape[1:]) ** -0.5
    if last in ("memory_tokens", "new_tokens", "padding_embedding"):
        return 0.0, 1.0
    return 0.0, 0.1


if __name__ == "__main__":
    main()

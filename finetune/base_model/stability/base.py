"""A base from Stability's own files: `model_config.json`, `model.safetensors` and the text encoder's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from finetune.base_model.hub import fetch_text_encoder
from finetune.base_model.stability.cache import converted_file, read_converted, write_converted
from finetune.base_model.stability.checkpoint import Checkpoint
from finetune.base_model.stability.geometry import Geometry, read_geometry
from finetune.base_model.stability.reading import (
    Weights,
    read_autoencoder,
    read_duration_embedder,
    read_transformer,
)
from finetune.licences import licence_of

CONFIG, WEIGHTS = "model_config.json", "model.safetensors"


@dataclass(frozen=True)
class Modules:
    transformer: Any
    duration_embedder: Any
    autoencoder: Any


def text_encoder_folder(root: Path, geometry: Geometry, fetch: bool) -> Path:
    """Where the text encoder lies: beside the weights, else in the Hub's cache, under the name that the base gives.

    `fetch`: it may be fetched from there, since the user named a base on the Hub. WoodshedError when it is nowhere.
    """
    beside = root / geometry.text_folder
    return beside if beside.is_dir() else fetch_text_encoder(geometry.text_repo, geometry.text_folder, fetch)


def read_modules(root: Path, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> Modules:
    """Transformer in `dtype`, duration embedder and autoencoder in float32, on `device`.

    Raises WoodshedError for every key that is missing, left over, of another shape, or not finite.
    """
    source = Checkpoint(root / WEIGHTS)
    kept = converted_file(root / WEIGHTS, dtype)
    weights = Weights(source, read_converted(kept) if kept else None)
    modules = Modules(
        read_transformer(weights, geometry, dtype, device),
        read_duration_embedder(weights, geometry, device),
        read_autoencoder(weights, geometry, device),
    )
    weights.close()
    if kept and weights.converted is None:
        write_converted(kept, weights.made, licence_of(root))
    return modules


def reread_autoencoder(root: Path, device: torch.device) -> Any:
    """The autoencoder alone, of a base that was loaded before."""
    weights = Weights(Checkpoint(root / WEIGHTS))
    return read_autoencoder(weights, read_geometry(root / CONFIG), device)

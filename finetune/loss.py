"""The objective of one batch, from noise to loss."""

from __future__ import annotations

import torch

from finetune.base_model import BaseModel
from finetune.batches import Batch
from finetune.objective import add_noise, masked_loss


def batch_loss(base: BaseModel, batch: Batch) -> torch.Tensor:
    """The loss of `batch`; gradients reach the adapter."""
    latents, noise, t = (x.to(base.device, non_blocking=True) for x in (batch.latents, batch.noise, batch.t))
    predicted = base.velocity(add_noise(latents, noise, t).to(base.dtype), t, batch.conditions)
    kept_mask = batch.conditions.kept_mask
    if kept_mask is not None:
        kept_mask = kept_mask.to(base.device, non_blocking=True)
    return batch.weight * masked_loss(predicted, noise - latents, kept_mask, batch.kept_weight)

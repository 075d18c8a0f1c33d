"""The objective of one batch, from noise to loss."""

from __future__ import annotations

import torch

from finetune.base_model import BaseModel
from finetune.batches import Batch
from finetune.objective import add_noise, masked_loss


def batch_loss(base: BaseModel, batch: Batch) -> torch.Tensor:
    """The loss of `batch`; gradients reach the adapter."""
    device = base.device
    noisy = add_noise(batch.latents, batch.noise, batch.t).to(device, base.dtype)
    predicted = base.velocity(noisy, batch.t.to(device), batch.conditions)
    kept_mask = batch.conditions.kept_mask
    target = (batch.noise - batch.latents).to(device)
    return masked_loss(predicted, target, None if kept_mask is None else kept_mask.to(device))

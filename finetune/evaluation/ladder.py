"""Base and adapter hear the same noisy clips at a ladder of strengths: how wrong they are, and how far apart.

The loss is the held-out loss of training; the change is |adapted - base| / |base| of the predicted velocities, as root
mean squares over everything that is counted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from finetune.adapter.blend import AdapterUse, Blend
from finetune.adapter.low_rank import LowRankAdapter
from finetune.base_model import BaseModel
from finetune.progress import Report
from finetune.validation import Probe, predict

LADDER = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


@dataclass(frozen=True)
class Heard:
    """At one strength, (probes, 5 times) each: mean squared error, mean square of the change and of the base."""

    losses: np.ndarray
    changed: np.ndarray
    base: np.ndarray

    def of(self, rows: slice) -> Heard:
        return Heard(self.losses[rows], self.changed[rows], self.base[rows])

    @property
    def relative(self) -> float:
        return ratio(self.changed, self.base)

    @property
    def relative_by_time(self) -> list[float]:
        return [ratio(changed, base) for changed, base in zip(self.changed.T, self.base.T, strict=True)]


def ratio(changed: np.ndarray, base: np.ndarray) -> float:
    """√(Σ changed / Σ base); 0 where the base is silent."""
    return float(np.sqrt(changed.sum() / max(float(base.sum()), 1e-30)))


def climb(
    base: BaseModel,
    adapter: LowRankAdapter,
    probes: Sequence[Probe],
    strengths: Sequence[float],
    report: Report,
    done: int = 0,
) -> dict[float, Heard]:
    """What is heard at each strength. `report` hears of every probe at every strength, counted from `done` on."""
    plain: list[torch.Tensor] = []
    for probe in probes:
        plain.append(predict(base, probe).cpu())
        report(done + len(plain), "the base")
    done += len(plain)
    heard = {}
    for strength in strengths:
        with Blend(base, [AdapterUse(adapter, "the adapter", strength)]):
            rows = []
            for probe, own in zip(probes, plain, strict=True):
                predicted = predict(base, probe).cpu() if strength else own
                rows.append([_square(predicted - probe.target), _square(predicted - own), _square(own)])
                done += 1
                report(done, f"strength {strength:g}")
        losses, changed, power = np.array(rows).transpose(1, 0, 2)
        heard[strength] = Heard(losses, changed, power)
    return heard


def changes_by_block(base: BaseModel, adapter: LowRankAdapter, probes: Sequence[Probe]) -> list[float]:
    """The relative change of what flows on after each block of the transformer, at strength 1."""
    plain = [_after_blocks(base, probe) for probe in probes]
    with Blend(base, [AdapterUse(adapter, "the adapter")]):
        adapted = [_after_blocks(base, probe) for probe in probes]
    blocks = range(len(plain[0]))
    return [
        ratio(
            np.array(
                [
                    float((a[n].float() - p[n].float()).square().sum())
                    for a, p in zip(adapted, plain, strict=True)
                ]
            ),
            np.array([float(p[n].float().square().sum()) for p in plain]),
        )
        for n in blocks
    ]


def _after_blocks(base: BaseModel, probe: Probe) -> list[torch.Tensor]:
    """The residual stream (5, tokens, width) after each block, in its own precision, on the CPU."""
    streams: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        streams.append((output[0] if isinstance(output, tuple) else output).detach().cpu())

    hooks = [block.register_forward_hook(keep) for block in base.transformer.transformer_blocks]
    try:
        predict(base, probe)
    finally:
        for hook in hooks:
            hook.remove()
    return streams


def _square(values: torch.Tensor) -> np.ndarray:
    """(5,) mean squares over channels and frames."""
    return values.double().square().mean((1, 2)).numpy()

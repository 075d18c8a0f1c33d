"""Teach the starter's text encoder what words mean, as the real base's was taught by reading: before any sound.

Every token's state, not only a summary, learns to tell all facts of its caption. The transformer may then look at
any of them. Without this, text that means nothing yet is looked away from within a few hundred steps, for good.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from finetune.base_model.starter.geometry import CONDITION_WIDTH, TEXT_TOKENS
from finetune.base_model.starter.prompts import draw_caption

NAMED = ("kind", "instruments", "metre", "brightness", "room", "density", "dynamics", "width", "genre")
SLOWEST_BPM, FASTEST_BPM, TEMPO_BINS = 50.0, 220.0, 64
TEMPO_SPREAD = 0.02  # deviation, in log tempo, of the bins that count as right
SWUNG = 0.55
RATE = 2e-3


class Facts:
    """What captions may state, as numbers: a yes or no for everything named, and bins of log tempo."""

    def __init__(self, library: list[dict[str, Any]]) -> None:
        self.names = sorted({name for fields in library for name in _named(fields)})
        self.centres = torch.linspace(np.log(SLOWEST_BPM), np.log(FASTEST_BPM), TEMPO_BINS)

    def of(self, batch: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(batch, names) 0 or 1; (batch, bins) shares that sum to 1; (batch,) whether there is a tempo."""
        named = torch.tensor([[float(name in _named(fields)) for name in self.names] for fields in batch])
        tempo = torch.tensor([float(fields.get("tempo") or 0) for fields in batch])
        away = (tempo.clamp(min=1).log()[:, None] - self.centres) / TEMPO_SPREAD
        return named, torch.softmax(-0.5 * away.square(), dim=1), tempo > 0


def _named(fields: dict[str, Any]) -> set[str]:
    words = {f"{key}={fields[key]}" for key in NAMED if isinstance(fields.get(key), str)}
    words |= {f"piece={piece}" for piece in fields.get("pieces", ())}
    return words | ({"swung"} if (fields.get("swing") or 0.5) >= SWUNG else set())


def teach_words(encoder: Any, tokenizer: Any, library: list[dict[str, Any]], steps: int, batch: int) -> float:
    """Train `encoder` on captions of `library`; returns how often a tempo that a caption states was read within 4 %."""
    facts = Facts(library)
    heads = nn.Linear(CONDITION_WIDTH, len(facts.names) + TEMPO_BINS).to(encoder.device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    stated, right = 0, 0
    for step in range(steps):
        rng = np.random.default_rng([5, step])
        chosen = [library[index] for index in rng.integers(0, len(library), batch)]
        captions = [draw_caption(fields, rng) for fields in chosen]
        encoded = read(tokenizer, captions).to(encoder.device)
        states = encoder(**encoded).last_hidden_state
        named, tempo, has_tempo = (x.to(encoder.device) for x in facts.of(chosen))
        told, told_tempo = heads(states).split([len(facts.names), TEMPO_BINS], dim=-1)
        wrong = F.binary_cross_entropy_with_logits(
            told, named[:, None].expand_as(told), reduction="none"
        ).sum(-1)
        wrong = wrong - (tempo[:, None] * F.log_softmax(told_tempo, -1)).sum(-1) * has_tempo[:, None]
        tokens = encoded["attention_mask"]
        loss = (wrong * tokens).sum() / tokens.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step >= steps - 20:
            states_it = torch.tensor(
                [f"{f.get('tempo')}" in c for f, c in zip(chosen, captions, strict=True)], device=tempo.device
            )
            away = facts.centres[told_tempo[:, 0].argmax(-1).cpu()] - facts.centres[tempo.argmax(-1).cpu()]
            stated += int(states_it.sum())
            right += int((away.abs() < 0.04)[states_it.cpu()].sum())
    return right / max(1, stated)


def read(tokenizer: Any, captions: list[str]) -> Any:
    """Token ids and attention mask, padded to the longest caption."""
    return tokenizer(captions, truncation=True, max_length=TEXT_TOKENS, padding=True, return_tensors="pt")

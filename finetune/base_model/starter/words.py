"""Teach the starter's text encoder what words mean, as the real base's was taught by reading: before any sound.

Every token's state, not only a summary, learns to tell all facts of its caption. The transformer may then look at
any of them. Without this, text that means nothing yet is looked away from within a few hundred steps, for good. The
first channels of a state say the beat in the way that `rhythm.py` needs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from finetune.base_model.rotary import rotary_frequencies
from finetune.base_model.starter.geometry import CONDITION_WIDTH, TEXT_TOKENS
from finetune.base_model.starter.prompts import draw_caption
from finetune.base_model.starter.rhythm import CODES, TURNED, beat_codes

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
        tempo = tempi_of(batch)
        away = (tempo.clamp(min=1).log()[:, None] - self.centres) / TEMPO_SPREAD
        return named, torch.softmax(-0.5 * away.square(), dim=1), tempo > 0


def tempi_of(batch: list[dict[str, Any]]) -> torch.Tensor:
    """(batch,) beats per minute, 0 where there is no tempo."""
    return torch.tensor([float(fields.get("tempo") or 0) for fields in batch])


def _named(fields: dict[str, Any]) -> set[str]:
    words = {f"{key}={fields[key]}" for key in NAMED if isinstance(fields.get(key), str)}
    words |= {f"piece={piece}" for piece in fields.get("pieces", ())}
    return words | ({"swung"} if (fields.get("swing") or 0.5) >= SWUNG else set())


def teach_words(encoder: Any, tokenizer: Any, library: list[dict[str, Any]], steps: int, batch: int) -> float:
    """Train `encoder` on captions of `library`; returns the share of stated tempi that it then tells within 4 %."""
    facts, frequencies = Facts(library), rotary_frequencies(TURNED)
    heads = nn.Linear(CONDITION_WIDTH, len(facts.names) + TEMPO_BINS).to(encoder.device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters()], lr=RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    for step in range(steps):
        chosen, captions = _draw(library, batch, step)
        encoded = read(tokenizer, captions).to(encoder.device)
        states = encoder(**encoded).last_hidden_state
        told = heads(states).split([len(facts.names), TEMPO_BINS], dim=-1)
        targets = [x.to(encoder.device) for x in facts.of(chosen)]
        codes = beat_codes(tempi_of(chosen), frequencies).to(states)
        off = (states[..., :CODES] - codes[:, None]).square().sum(-1)
        loss = _loss(told, targets, off, encoded["attention_mask"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return _tempi_told(encoder, tokenizer, heads, facts, library)


def _draw(library: list[dict[str, Any]], count: int, step: int) -> tuple[list[dict[str, Any]], list[str]]:
    rng = np.random.default_rng([5, step])
    chosen = [library[index] for index in rng.integers(0, len(library), count)]
    return chosen, [draw_caption(fields, rng) for fields in chosen]


def _loss(
    told: Sequence[torch.Tensor], targets: Sequence[torch.Tensor], off: torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    """Mean over every token of every caption, `off` included; a clip without a tempo is not asked for one."""
    (named, tempo), (right, right_tempo, has_tempo) = told, targets
    right = right[:, None].expand_as(named)
    wrong = F.binary_cross_entropy_with_logits(named, right, reduction="none").sum(-1)
    wrong = wrong - (right_tempo[:, None] * F.log_softmax(tempo, -1)).sum(-1) * has_tempo[:, None]
    return ((wrong + off) * tokens).sum() / tokens.sum()


@torch.no_grad()
def _tempi_told(
    encoder: Any, tokenizer: Any, heads: nn.Module, facts: Facts, library: list[dict[str, Any]]
) -> float:
    chosen, captions = _draw(library, 1000, -1 % 2**31)
    stating = [(f, c) for f, c in zip(chosen, captions, strict=True) if f"{f.get('tempo')}" in c]
    if not stating:
        return math.nan
    states = encoder(**read(tokenizer, [c for _, c in stating]).to(encoder.device)).last_hidden_state
    bins = heads(states[:, 0])[:, len(facts.names) :].argmax(-1).cpu()
    tempi = torch.tensor([float(f["tempo"]) for f, _ in stating]).log()
    return float(((facts.centres[bins] - tempi).abs() < 0.04).float().mean())


def read(tokenizer: Any, captions: list[str]) -> Any:
    """Token ids and attention mask, padded to the longest caption."""
    return tokenizer(captions, truncation=True, max_length=TEXT_TOKENS, padding=True, return_tensors="pt")

"""Give the starter's transformer an ear for the beat before it has heard any sound.

Stable Audio 3 knows positions only by rotary phase, and tempo only by words. So the text encoder learns to say how far
half a beat, a beat, two and four of them turn each rotary frequency, and some attention heads start with just that as
their query: they look one such distance back, at the tempo that the words name. What they make of it is learned.
Without this, thousands of steps taught no tempo: a period in frames is a hard function of a number in words.
"""

from __future__ import annotations

from typing import Any

import torch

from finetune.base_model.starter.geometry import SAMPLES_PER_LATENT, TRANSFORMER

FRAMES_PER_MINUTE = 60 * 44100 / SAMPLES_PER_LATENT
LAGS = ((0.5, 0), (1.0, 0), (2.0, 1), (4.0, 1))  # in beats, with the first rotary frequency that tells it
FREQUENCIES = 6  # rotary frequencies that tell one lag
CODE = 2 * FREQUENCIES  # how far each is turned, as cosine and sine
CODES = CODE * len(LAGS)  # the first so many channels of every text state
HEARD_BY = {1: (0, 1), 2: (1, 2), 3: (0, 3), 4: (1, 2), 5: (1, 3)}  # block: lags of its first heads
CLEAR = 1.0  # gain of the codes; at 14 they fill what the norms let through, and sound is learned later
EAGER = 10.0  # gain of the queries; they are normalised, and next to nothing would count as nothing
HELD = CODES + 1  # last channels of the residual stream: a steady one to make keys from, and the codes
TURNED = TRANSFORMER["embed_dim"] // TRANSFORMER["num_heads"] // 2  # channels of a head turned by position


def beat_codes(bpm: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """(batch,) beats per minute, 0 for none, to (batch, CODES): cosine and sine of every lag's turns, 0 for none."""
    beat = FRAMES_PER_MINUTE / bpm.clamp(min=1)
    codes = []
    for beats, first in LAGS:
        turned = beats * beat[:, None] * frequencies[first : first + FREQUENCIES]
        codes += [turned.cos(), turned.sin()]
    return torch.cat(codes, dim=1) * (bpm > 0)[:, None]


@torch.no_grad()
def listen_back(transformer: Any, duration_embedder: Any) -> None:
    """Set the weights of a fresh transformer so that heads look back by the lags that text states tell.

    The first block writes the codes into the last channels of the residual stream, which nothing else writes to or
    shifts; queries are made of them there. All this is held as it is: before the rest has learned what a beat is good
    for, training would undo it.
    """
    width = transformer.config.embed_dim
    blocks = transformer.transformer_blocks
    first = blocks[0].cross_attn
    _pass_codes_on(transformer.to_cond_embed)
    for weight in duration_embedder.linear.parameters():  # its token stands among the text states
        _silence(weight, slice(CODES))
    _reserve_channels(transformer)
    _leave_unmodulated(transformer.global_cond_embedder[-1].weight, width)
    _leave_unmodulated(transformer.global_cond_embedder[-1].bias, width)
    _silence(first.to_q.weight, slice(first.dim_heads))  # its first head looks at all words alike
    first.to_kv.weight[width : width + CODES] = torch.eye(CODES, width)
    _hold(first.to_kv.weight, slice(width, width + CODES))
    first.to_out.weight[-CODES:] = CLEAR * torch.eye(CODES, width)
    for block, lags in HEARD_BY.items():
        _leave_unmodulated(blocks[block].to_scale_shift_gate, width)
        blocks[block].to_scale_shift_gate[2 * width - HELD] = 1.0  # shifts the steady channel
        _hold(blocks[block].pre_norm.gamma, slice(-HELD, None))
        for head, lag in enumerate(lags):
            _look_back(blocks[block].self_attn, head, lag, width - CODES + lag * CODE)


def _pass_codes_on(projection: Any) -> None:
    """Linear, SiLU, linear, that leave the codes as they are: silu(x) - silu(-x) is x."""
    into, out = projection[0].weight, projection[2].weight
    codes = torch.eye(CODES, into.shape[1])
    into[: 2 * CODES] = torch.cat([codes, -codes])
    out[:CODES] = 0
    out[:CODES, : 2 * CODES] = torch.cat([torch.eye(CODES), -torch.eye(CODES)], dim=1)
    _hold(into, slice(2 * CODES))
    _hold(out, slice(CODES))


def _reserve_channels(transformer: Any) -> None:
    writers = [transformer.proj_in.weight]
    for block in transformer.transformer_blocks:
        parts = (block.self_attn.to_out, block.cross_attn.to_out, block.to_local_embed[-1], block.ff.proj_out)
        writers += [weight for part in parts for weight in part.parameters()]
    for weight in writers:
        _silence(weight, slice(-HELD, None))
    _silence(transformer.memory_tokens, (..., slice(-HELD, None)))


def _leave_unmodulated(weight: torch.nn.Parameter, width: int) -> None:
    """No scale and no shift of the held channels before self-attention: the first two of six parts of `weight`."""
    _silence(weight, slice(width - HELD, width), slice(2 * width - HELD, 2 * width))


def _look_back(attention: Any, head: int, lag: int, channel: int) -> None:
    """Queries of the lag's code, which lies from `channel` on; keys that are alike for all positions."""
    queries, keys, _ = attention.to_qkv.weight.unflatten(0, (3, attention.heads, attention.dim_heads))
    half = TURNED // 2  # pairs of channels are so far apart
    queries[head] = 0
    keys[head] = 0
    for index in range(FREQUENCIES):
        turned = LAGS[lag][1] + index
        queries[head, turned, channel + index] = EAGER
        queries[head, turned + half, channel + FREQUENCIES + index] = -EAGER
        keys[head, turned, -HELD] = 1.0
    cosines = slice(LAGS[lag][1], LAGS[lag][1] + FREQUENCIES)
    sines = slice(cosines.start + half, cosines.stop + half)
    for norm in (attention.q_norm, attention.k_norm):  # or the look would blur
        _hold(norm.gamma, cosines, sines)
    width, first = queries.shape[2], head * attention.dim_heads
    last = first + attention.dim_heads
    _hold(attention.to_qkv.weight, slice(first, last), slice(width + first, width + last))


def _silence(weight: torch.nn.Parameter, *held: Any) -> None:
    """What these indices name is zero and stays so."""
    for index in held:
        weight[index] = 0
    _hold(weight, *held)


def _hold(weight: torch.nn.Parameter, *held: Any) -> None:
    """Training leaves what these indices name as it is."""
    free = torch.ones_like(weight)
    for index in held:
        free[index] = 0
    weight.register_hook(lambda gradient: gradient * free.to(gradient))

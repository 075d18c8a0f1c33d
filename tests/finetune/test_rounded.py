"""What waits for the backward pass in bfloat16: what is rounded, what is not, and what it does to gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from finetune.adapter import AdapterSettings, attach
from finetune.base_model import load_base
from finetune.base_model.lean_blocks import keep_less
from finetune.base_model.recompute import recompute_blocks
from finetune.base_model.rounded import BOARD, Rounded, Rounding, Shelf, restored
from finetune.base_model.storage import pack
from finetune.example import example_batch
from finetune.fitting import block_bytes
from finetune.loss import batch_loss
from tests.tools.memory import resident


@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    order=st.randoms(),
    dtype=st.sampled_from([torch.float32, torch.bool, torch.int64]),
)
def test_a_shelf_gives_back_what_was_put_on_it(shape: list[int], order, dtype: torch.dtype) -> None:  # type: ignore[no-untyped-def]
    shelf, places = Shelf(), list(range(len(shape)))
    order.shuffle(places)
    tensors = [torch.rand(shape).mul(9).to(dtype).permute(places) for _ in range(3)]
    copies = [shelf.copy(tensor, dtype) for tensor in tensors]
    for tensor, copied in zip(tensors, copies, strict=True):
        assert torch.equal(copied, tensor)
        if tensor.numel() > 1:
            assert copied.is_contiguous() == tensor.is_contiguous()
            assert copied.data_ptr() % 64 == 0


def test_dimensions_keep_their_order_in_memory() -> None:
    turned = torch.rand(3, 4, 5).transpose(1, 2)
    assert Shelf().copy(turned, torch.float32).stride() == turned.stride()


def test_pieces_live_on_board_after_board() -> None:
    shelf, tensor = Shelf(), torch.rand(BOARD // 16)  # a quarter of a board
    pieces = [shelf.copy(tensor, torch.float32) for _ in range(9)]
    assert len({piece.untyped_storage().data_ptr() for piece in pieces}) == 3
    assert all(torch.equal(piece, tensor) for piece in pieces)
    large = torch.rand(BOARD // 4 + 1)
    assert torch.equal(shelf.copy(large, torch.float32), large), "larger than a board"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says how much memory is a process's own")
def test_a_board_is_gone_with_its_pieces() -> None:
    shelf, tensor, before = Shelf(), torch.rand(BOARD // 4), resident("RssAnon")
    pieces = [shelf.copy(tensor, torch.float32) for _ in range(8)]
    assert resident("RssAnon") - before > 7.5 * BOARD, "memory of this process, not shared"
    del pieces
    assert resident("RssAnon") - before < 2 * BOARD


def test_views_share_what_is_rounded_and_what_changed_since_does_not() -> None:
    rounding = Rounding(Shelf(), least=8)
    whole = torch.rand(4, 12)
    left, right = whole.chunk(2, dim=1)
    kept = [rounding.pack(each) for each in (left, right, whole.T)]
    assert len({each.values.data_ptr() for each in kept}) == 1
    for one, plain in zip(kept, (left, right, whole.T), strict=True):
        assert torch.equal(restored(one), plain.bfloat16().float())
    before = whole.clone()
    whole.add_(1)
    assert torch.equal(restored(rounding.pack(whole)), whole.bfloat16().float())
    assert torch.equal(restored(kept[2]), before.T.bfloat16().float())


def test_parameters_small_tensors_and_whole_numbers_stay_exact() -> None:
    rounding, layer = Rounding(Shelf(), least=8), nn.Linear(4, 4)
    for exact in (layer.weight, layer.weight.T, torch.rand(7), torch.rand(9, dtype=torch.float64)):
        kept = rounding.pack(exact)
        assert not isinstance(kept, Rounded)
        assert torch.equal(restored(kept), exact)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradients_of_rounded_activations_are_near(tiny_base_folder: Path, kind: str) -> None:
    found, kept, losses = [], [], []
    for rounded in (False, True):
        base = load_base(str(tiny_base_folder))
        pack(base.transformer, "bfloat16", torch.float32)
        adapter = attach(base, AdapterSettings(kind, 4, 4.0, "all", dropout=0.2), seed=1)
        draw = torch.Generator().manual_seed(3)
        for name, parameter in adapter.named_parameters().items():
            if ".lora_B." in name:
                parameter.data.normal_(0, 0.1, generator=draw)
        adapter.train(True)
        keep_less(base.transformer, rounded)
        batch = example_batch(base, 2, 60)
        kept.append(block_bytes(base, batch).kept)
        for recomputed in (0, 2) if rounded else (0,):
            recompute_blocks(base.transformer, recomputed, dropout=True)
            torch.manual_seed(9)
            loss = batch_loss(base, batch)
            losses.append(loss.item())
            parts = torch.autograd.grad(loss, adapter.parameters())
            found.append(torch.cat([part.flatten() for part in parts]))
    exact, rounded_ones, recomputed_ones = found
    assert losses[0] == losses[1] == losses[2], "only what waits is rounded"
    assert 1e-5 < float((rounded_ones - exact).norm() / exact.norm()) < 1e-2
    assert torch.equal(recomputed_ones, rounded_ones), "however many blocks are computed again"
    assert kept[1] < 0.6 * kept[0]

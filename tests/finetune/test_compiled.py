"""Compiled blocks: the same gradients, and one compilation for all blocks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from finetune.adapter import Adapter, AdapterSettings, attach
from finetune.base_model import BaseModel
from finetune.base_model import compiled as module
from finetune.base_model.compiled import can_compile, compile_blocks
from finetune.base_model.distinct import compute_padding_once
from finetune.base_model.recompute import recompute_blocks
from finetune.base_model.storage import Precision, load_frozen
from finetune.errors import WoodshedError
from finetune.example import example_batch
from finetune.failures import compile_failures_in_words
from finetune.loss import batch_loss

CPU = torch.device("cpu")
KINDS = 2  # of passes: the first block's input asks for no gradient where all before it is frozen
LENGTHS = 2  # a compilation for the first length, one for all others


@pytest.fixture
def traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tracing and its guards are what differs between models; generating machine code would take minutes."""
    fake = SimpleNamespace(_dynamo=torch._dynamo, compile=partial(torch.compile, backend="eager"))
    monkeypatch.setattr(module, "torch", fake)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def adapted(folder: Path, kind: str, precision: Precision) -> tuple[BaseModel, Adapter]:
    base = load_frozen(str(folder), precision, CPU)
    adapter = attach(base, AdapterSettings(kind, 4, 4.0, "all"))
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters().items():
            if ".lora_B." in name:
                parameter.normal_(0, 0.1, generator=draw)
    adapter.train(True)
    compute_padding_once(base)
    return base, adapter


def gradients(base: BaseModel, adapter: Adapter, frames: int) -> torch.Tensor:
    parts = torch.autograd.grad(batch_loss(base, example_batch(base, 2, frames)), adapter.parameters())
    return torch.cat([part.flatten() for part in parts])


CASES = [
    ("dora", "float32", 0),
    pytest.param("lora", "nf4", 1, marks=pytest.mark.slow),
    pytest.param("lora", "int8", 0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "precision", "recomputed"), CASES)
def test_one_compilation_serves_all_blocks_and_two_all_lengths(
    tiny_base_folder: Path, traced_only: None, kind: str, precision: Precision, recomputed: int
) -> None:
    lengths = (8, 9) if recomputed == 0 else (8, 9, 12)
    plain = adapted(tiny_base_folder, kind, precision)
    wanted = [gradients(*plain, frames) for frames in lengths]
    base, adapter = adapted(tiny_base_folder, kind, precision)
    compile_blocks(base.transformer)
    recompute_blocks(base.transformer, recomputed, dropout=False)
    for frames, gradient in zip(lengths, wanted, strict=True):
        torch.testing.assert_close(gradients(base, adapter, frames), gradient, rtol=1e-4, atol=1e-5)
    if precision == "float32":
        breaks = torch._dynamo.utils.counters["graph_break"]
        assert not breaks, f"a block is one graph: {breaks}"
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= KINDS * LENGTHS


@pytest.mark.slow
def test_machine_code_gives_the_same_gradients(tiny_base_folder: Path) -> None:
    torch._dynamo.reset()
    wanted = gradients(*adapted(tiny_base_folder, "dora", "float32"), 8)
    base, adapter = adapted(tiny_base_folder, "dora", "float32")
    compile_blocks(base.transformer)
    torch.testing.assert_close(gradients(base, adapter, 8), wanted, rtol=1e-4, atol=1e-5)


def test_on_a_processor_it_takes_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not can_compile(CPU) and can_compile(torch.device("cuda"))
    monkeypatch.setattr("shutil.which", lambda name: "/bin/g++" if name == "g++" else None)
    assert can_compile(CPU)


def test_what_does_not_compile_is_a_sentence() -> None:
    def broken(graph: object, inputs: object) -> None:
        raise ValueError("no such machine")

    said = r"training.compile=false.*\n*.*no such machine"
    with pytest.raises(WoodshedError, match=said), compile_failures_in_words():
        torch.compile(lambda x: x + 1, backend=broken)(torch.ones(2))
    with pytest.raises(RuntimeError, match="another"), compile_failures_in_words():
        raise RuntimeError("another")

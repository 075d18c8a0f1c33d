"""Two processes for test_sharding, forked from one that has everything imported already:
python -m tests.finetune.sharding_child PORT BASE OUT

Each writes, as OUT/RANK.json, what is the same with a sharded base as with a whole one: all of it should be.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist

from finetune.adapter import Adapter, AdapterSettings, attach
from finetune.base_model import BaseModel
from finetune.base_model.distinct import compute_padding_once
from finetune.base_model.lean_blocks import keep_less
from finetune.base_model.recompute import recompute_blocks
from finetune.base_model.sharding import PLACES, Shards
from finetune.base_model.storage import Precision, load_frozen
from finetune.batches import Batch
from finetune.example import example_batch
from finetune.loss import batch_loss

CPU = torch.device("cpu")
CASES: list[tuple[Precision, str, int, str | None]] = [
    ("float32", "dora", 3, None),  # precision, adapter, blocks computed again, adapted blocks
    ("bfloat16", "lora", 0, "1-3"),
    ("int8", "dora", 0, None),
    ("nf4", "lora", 5, None),
]
PROCESSES = 2


def main() -> None:
    ranks = [
        multiprocessing.get_context("fork").Process(target=work, args=(rank,)) for rank in range(PROCESSES)
    ]
    for each in ranks:
        each.start()
    for each in ranks:
        each.join()
    sys.exit(any(each.exitcode for each in ranks))


def work(rank: int) -> None:
    port, base, out = sys.argv[1:]
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": PROCESSES, "LOCAL_WORLD_SIZE": PROCESSES}
    os.environ |= {name: str(value) for name, value in here.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    facts = {f"{case}": compared(base, *case) for case in CASES}
    Path(out, f"{rank}.json").write_text(json.dumps(facts))
    dist.destroy_process_group()


def compared(
    folder: str, precision: Precision, kind: str, recomputed: int, layers: str | None
) -> dict[str, bool]:
    with mock.patch("finetune.base_model.storage.computes_in_bfloat16", lambda device: False):
        whole, sharded = (load_frozen(folder, precision, CPU) for _ in range(2))
    settings = AdapterSettings(kind, 4, 4.0, "all", layers, dropout=0.1)
    adapters = [attach(base, settings) for base in (whole, sharded)]
    before = matrix_bytes(sharded)
    sharded.shards = shards = Shards(sharded.transformer, CPU)
    for base, adapter in zip((whole, sharded), adapters, strict=True):
        compute_padding_once(base)
        keep_less(base.transformer, base.rounded)
        recompute_blocks(base.transformer, recomputed, dropout=True)
        adapter.train(True)
    one, two = (worked(base, adapter) for base, adapter in zip((whole, sharded), adapters, strict=True))
    same = {name: all(map(torch.equal, found, two[name])) for name, found in one.items()}
    block = before / len(sharded.transformer.transformer_blocks)
    room = before / dist.get_world_size() + PLACES * block
    return same | {
        "smaller": room <= shards.bytes < 1.2 * room and matrix_bytes(sharded) < 1.2 * PLACES * block
    }


def worked(base: BaseModel, adapter: Adapter) -> dict[str, list[torch.Tensor]]:
    """What comes out of steps on batches of this process's own, and of passes that the first process does alone."""
    found = {}
    for number in range(2):
        torch.manual_seed(10 * number + dist.get_rank())
        batch = example_batch(base, 2, 6 + dist.get_rank() + number, inpainting=number == 1)
        loss = batch_loss(base, batch)
        loss.backward()
        gradients = [parameter.grad for parameter in adapter.parameters()]
        found[f"step {number}"] = [loss.detach(), *(each.clone() for each in gradients if each is not None)]
        with torch.no_grad():
            for parameter, gradient in zip(adapter.parameters(), gradients, strict=True):
                parameter.sub_(0.1 * gradient).add_(0.01)  # type: ignore[operator]
                parameter.grad = None
            found[f"no gradients {number}"] = [batch_loss(base, batch)]
            found[f"alone {number}"] = alone(base, batch)
    return found


def alone(base: BaseModel, batch: Batch) -> list[torch.Tensor]:
    """Two losses of the first process, none of another."""
    if dist.get_rank():
        if base.shards is not None:
            base.shards.follow()
        return []
    with base.shards.leading() if base.shards else nullcontext():
        return [batch_loss(base, batch) for _ in range(2)]


def matrix_bytes(base: BaseModel) -> int:
    """Memory of all frozen matrices of the blocks, each piece once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for block in base.transformer.transformer_blocks
        for tensor in (*(p for p in block.parameters() if not p.requires_grad), *block.buffers())
        if tensor.ndim > 1
    }
    return sum(storages.values())


if __name__ == "__main__":
    main()

"""Checkpoints and files: whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from finetune.checkpoint import Checkpoint, checkpoint_folders, latest_checkpoint, save_checkpoint
from finetune.files import remove_leftovers, write_file, write_folder


def checkpoint(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    return Checkpoint(
        step=step,
        adapter={"a": torch.randn(3, 4, generator=generator)},
        optimizer={
            "0.state1": torch.randint(0, 256, (5000,), generator=generator, dtype=torch.uint8),
            "0.exp_avg": torch.randn(7, generator=generator).bfloat16(),
            "0.step": torch.tensor(float(step)),
        },
        facts={"base_fingerprint": "abc", "optimizer": {"0.step": step, "0.unorm": 0.1}},
    )


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    saved = checkpoint(7)
    save_checkpoint(tmp_path, saved, keep=2)
    back = latest_checkpoint(tmp_path)
    assert back is not None and back.step == 7 and back.facts == saved.facts
    for one, other in ((saved.adapter, back.adapter), (saved.optimizer, back.optimizer)):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype and torch.equal(one[name], other[name])


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 99, 100, 1_000_000):
        save_checkpoint(tmp_path, checkpoint(step), keep=3)
    assert [folder.name for folder in checkpoint_folders(tmp_path)] == [
        "step-1000000",
        "step-000100",
        "step-000099",
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "adapter.safetensors").unlink(),
        lambda folder: (folder / "state.json").write_text("{"),
        lambda folder: (folder / "state.json").write_text('{"step": 2}'),
        lambda folder: (folder / "state.json").write_text("[]"),
        lambda folder: (folder / "optimizer.safetensors").write_bytes(b""),
    ],
)
def test_damage_is_named_and_passed_over(
    damage: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path, checkpoint(1), keep=2)
    damage(save_checkpoint(tmp_path, checkpoint(2), keep=2))  # type: ignore[operator]
    back = latest_checkpoint(tmp_path)
    assert back is not None and back.step == 1
    assert "step-000002 is damaged" in capsys.readouterr().err


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None


def test_a_failure_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1), keep=2)
    bad = checkpoint(1)
    bad.facts["not json"] = object()
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path, bad, keep=2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    assert latest_checkpoint(tmp_path) is not None


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1), keep=2)
    half = tmp_path / "checkpoints" / ".step-000002.part-0123abcd"
    half.mkdir()
    (half / "adapter.safetensors").write_bytes(b"half")
    back = latest_checkpoint(tmp_path)
    assert back is not None and back.step == 1
    assert not half.exists()


def test_files_and_folders_replace_whole(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b.json", b"old")
    write_file(tmp_path / "a" / "b.json", b"new")
    assert (tmp_path / "a" / "b.json").read_bytes() == b"new"
    for words in ("one", "two"):
        with write_folder(tmp_path / "a" / "folder") as part:
            (part / "inner").mkdir()
            (part / "inner" / f"{words}.json").write_text(json.dumps(words))
    inside = [path.name for path in (tmp_path / "a" / "folder" / "inner").iterdir()]
    assert inside == ["two.json"]
    with pytest.raises(RuntimeError, match="in between"), write_folder(tmp_path / "a" / "folder") as part:
        (part / "three").touch()
        raise RuntimeError("in between")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.json", "folder"]
    (tmp_path / ".x.part-1").touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]

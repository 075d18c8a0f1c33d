"""Export from a base in Stability's own layout: the merged one has the same files, keys and types."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_export import make_run

from finetune.adapter.formats import read_adapter
from finetune.base_model import load_base
from finetune.base_model.stability.keys import stability_module
from finetune.errors import WoodshedError
from finetune.export import export
from finetune.model_card import write_card
from tests.finetune.conftest import accept_licences
from tests.tools.random_checkpoint import write_checkpoint
from tests.tools.stability_geometry import GEOMETRIES


@pytest.fixture(autouse=True)
def accepted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accept_licences(folder, tmp_path / "config", monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stability") / "tiny-medium"
    write_checkpoint(root, GEOMETRIES["tiny-medium"])
    (root / "LICENSE.md").write_text("# The Licence of These Weights\n\nBe kind.\n")
    return root


def test_merged_keeps_the_layout_and_changes_what_the_adapter_does(folder: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "mykit", folder, "dora", duration_embedder=True)
    done = export(run, "merged", tmp_path / "merged", base=str(folder))
    assert done.error < 2e-5
    assert done.notes == []
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(
        p.relative_to(tmp_path / "merged") for p in (tmp_path / "merged").rglob("*") if p.is_file()
    )
    before, after = (load_file(root / "model.safetensors") for root in (folder, tmp_path / "merged"))
    assert {k: (t.shape, t.dtype) for k, t in before.items()} == {
        k: (t.shape, t.dtype) for k, t in after.items()
    }
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {f"{stability_module(module)}.weight" for module in read_adapter(run).modules}


def test_the_licence_beside_the_weights_is_named(folder: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "mykit", folder)
    export(run, "stable-audio-3", tmp_path / "a.safetensors", base=str(folder))
    assert read_adapter(tmp_path / "a.safetensors").facts["licence"] == "The Licence of These Weights"


def test_its_card_loads_it_in_that_program(folder: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "mykit", folder)
    text = Path(write_card(export(run, "merged", tmp_path / "merged", base=str(folder))).card).read_text()
    assert "library_name: stable-audio-3" in text
    assert 'folder = "merged"' in text and "load_diffusion_cond(config" in text


def test_a_post_trained_base_takes_the_adapter_of_its_sibling(folder: Path, tmp_path: Path) -> None:
    """Other weights, other hash, the same shapes: merged, it generates in few steps."""
    run = make_run(tmp_path / "mykit", folder)
    write_checkpoint(tmp_path / "post", GEOMETRIES["tiny-medium"], objective="rf_denoiser", seed=1)
    done = export(run, "merged", tmp_path / "merged", base=str(tmp_path / "post"))
    assert done.error < 2e-5
    assert load_base(str(tmp_path / "merged")).post_trained
    write_checkpoint(tmp_path / "other", GEOMETRIES["tiny-medium"], seed=2)
    with pytest.raises(WoodshedError, match="trained on another base"):
        export(run, "merged", tmp_path / "merged2", base=str(tmp_path / "other"))
    assert not (tmp_path / "merged2").exists()

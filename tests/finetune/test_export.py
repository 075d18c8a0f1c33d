"""A run's adapter for every program: read back, compared with PEFT's predictions, never half there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from finetune import export as exporting
from finetune.adapter import AdapterSettings, attach
from finetune.adapter.folder import save_adapter
from finetune.adapter.formats import read_adapter
from finetune.adapter.probe import probe
from finetune.base_model import load_base
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.export import PROGRAMS, Program, export

FILE = {"peft": "a", "merged": "a"}


@pytest.fixture(scope="session", params=["lora", "dora"])
def run(
    request: pytest.FixtureRequest, tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run whose adapter does something, and its recipe."""
    return make_run(tmp_path_factory.mktemp("runs") / "mykit", tiny_base_folder, request.param)


def make_run(folder: Path, base_folder: Path, kind: str = "lora", duration_embedder: bool = False) -> Path:
    base = load_base(str(base_folder))
    settings = AdapterSettings(kind=kind, rank=4, alpha=6.0, duration_embedder=duration_embedder)
    adapter = attach(base, settings, seed=1)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    card = {"base": base_folder.name, "base_fingerprint": base.fingerprint, "name": folder.name, "step": 7}
    save_adapter(adapter, folder / "adapter", card)
    (folder / "recipe.yaml").write_text(f"base:\n  model: {base_folder}\n")
    return folder


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_gets_the_adapter(
    run: Path, tiny_base_folder: Path, tmp_path: Path, program: Program
) -> None:
    out = tmp_path / FILE.get(program, "a.safetensors")
    done = export(run, program, out, base=str(tiny_base_folder))
    assert done.compared == "predictions"
    assert done.effect is not None
    assert done.effect > 0.01
    assert done.error < {"fp32": 2e-5, "fp16": 1e-3}[done.dtype]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_merged_base_is_a_base_with_the_adapter_in_it(
    run: Path, tiny_base_folder: Path, tmp_path: Path
) -> None:
    export(run, "merged", tmp_path / "merged", base=str(tiny_base_folder))
    before = load_file(next((tiny_base_folder / "transformer").glob("*.safetensors")))
    after = load_file(next((tmp_path / "merged" / "transformer").glob("*.safetensors")))
    changed = {n.removesuffix(".weight") for n in before if not torch.equal(before[n], after[n])}
    assert changed == {m.removeprefix("transformer.") for m in read_adapter(run).modules}
    assert {n: t.dtype for n, t in before.items()} == {n: t.dtype for n, t in after.items()}
    assert not torch.equal(
        probe(load_base(str(tmp_path / "merged"))), probe(load_base(str(tiny_base_folder)))
    )


def test_what_16_bits_of_a_base_round_away_is_told(tiny_base_folder: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    exporting.merged._link_tree(tiny_base_folder, half)
    weights = next((half / "transformer").glob("*.safetensors"))
    stored = {name: tensor.bfloat16() for name, tensor in load_file(weights).items()}
    weights.unlink()
    save_file(stored, weights)
    run = make_run(tmp_path / "run", half)
    done = export(run, "merged", tmp_path / "a", base=str(half))
    assert "bf16, which rounds" in done.notes[0]
    assert done.error > 0.01
    assert export(run, "merged", tmp_path / "b", "fp32", str(half)).error < 1e-4


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_export_that_differs_is_not_kept(
    tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Program
) -> None:
    run = make_run(tmp_path / "run", tiny_base_folder)
    write, fold = exporting.write_adapter, exporting.merged.write

    def lossy(adapter, *rest):  # type: ignore[no-untyped-def]
        first = min(adapter.modules)
        part = replace(adapter.modules[first], up=adapter.modules[first].up * 1.2)
        spoiled = replace(adapter, modules=adapter.modules | {first: part})
        return (fold if program == "merged" else write)(spoiled, *rest)

    monkeypatch.setattr(exporting, "write_adapter", lossy)
    monkeypatch.setattr(exporting.merged, "write", lossy)
    with pytest.raises(WoodshedError, match="does not do what the adapter does"):
        export(
            run, program, tmp_path / "new" / FILE.get(program, "a.safetensors"), base=str(tiny_base_folder)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_without_a_base_the_matrices_are_compared(
    run: Path, tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = tmp_path / "a.safetensors"
    done = export(run, "stable-audio-3", native)
    assert (done.compared, done.effect) == ("matrices", None)
    assert done.error < 1e-3
    assert export(native, "diffusers", tmp_path / "b.safetensors").error < 1e-6
    with pytest.raises(WoodshedError, match="name the base to merge into with --base"):
        export(native, "merged", tmp_path / "c")
    assert export(native, "merged", tmp_path / "c", base=str(tiny_base_folder)).error < 2e-3


def test_nothing_is_overwritten_and_names_fit_the_program(run: Path, tmp_path: Path) -> None:
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    for out, says in (
        ("there.safetensors", "something in .* already"),
        ("a", "must end in .safetensors"),
    ):
        with pytest.raises(WoodshedError, match=says):
            export(run, "comfyui", tmp_path / out)
    with pytest.raises(WoodshedError, match="must be the name of a folder"):
        export(run, "peft", tmp_path / "b.safetensors")
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"


def test_an_adapter_for_another_base_is_refused(tiny_base_folder: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tiny_base_folder)
    export(run, "stable-audio-3", tmp_path / "a.safetensors")
    for source, says in (
        (run, "trained on another base"),
        (tmp_path / "a.safetensors", "trained on another base"),
    ):
        with pytest.raises(WoodshedError, match=says):
            export(source, "comfyui", tmp_path / "b.safetensors", base="starter")
    assert not (tmp_path / "b.safetensors").exists()


def test_the_command_says_what_it_wrote(tiny_base_folder: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "mykit", tiny_base_folder, duration_embedder=True)
    done = CliRunner().invoke(
        app, ["export", str(run), "--to", "stable-audio-3", "--trigger", "mykit", "--json"]
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["out"] == str(run / "export" / "mykit-stable-audio-3.safetensors")
    assert said["error"] < 1e-3
    assert read_adapter(Path(said["out"])).facts["trigger"] == "mykit"
    changed = CliRunner().invoke(app, ["convert", said["out"], "--to", "peft", "--json"])
    assert json.loads(changed.stdout)["out"] == str(run / "export" / "mykit-stable-audio-3-peft")
    refused = CliRunner().invoke(app, ["convert", said["out"], "--to", "comfyui"])
    assert "duration embedder" in str(refused.exception)

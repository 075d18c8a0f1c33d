"""Tamper tests: what is changed on the road from recording to adapter is found, with its exit code and a sentence."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_recipe, write_dataset
from provenance_run import Road, walk, write_take
from typer.testing import CliRunner

from data_prep import dataset as data_prep_dataset
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.export import PROGRAMS, Program, export
from finetune.provenance import describe
from finetune.provenance.canonical import canonical
from finetune.provenance.dsse import Envelope, read_envelope, sign
from finetune.provenance.evidence import gather
from finetune.provenance.keys import key_file, key_id, make_key, read_key
from finetune.provenance.lineage import check_held_out
from finetune.provenance.place import find_place
from finetune.provenance.results import Check, exit_code
from finetune.provenance.training_set import read_record
from finetune.provenance.verify import verify
from finetune.trainer import fork, resume, train

CHANGES = 1000


@pytest.fixture(scope="module")
def signed(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Road:
    root = tmp_path_factory.mktemp("road")
    with pytest.MonkeyPatch.context() as patch:
        return walk(root, tiny_base_folder, root / "config", patch)


@pytest.fixture
def road(signed: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setenv("WOODSHED_CONFIG", str(signed.takes.parent / "config"))
    return signed.copy(tmp_path)


def look(road: Road, path: Path | None = None, **options: object) -> tuple[int, list[Check]]:
    """Exit code and checks of the run's adapter, compared with everything."""
    asked: dict[str, object] = {"dataset": road.dataset, "recordings": road.takes, **options}
    (seen,) = verify(path or road.run / "adapter", **asked)  # type: ignore[arg-type]
    return seen.exit_code, list(seen.checks)


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.check: check.words for check in checks if check.status == "failed"}


def test_an_untouched_run_is_proved_in_the_order_of_the_road(road: Road) -> None:
    code, checks = look(road)
    assert code == 0
    assert [check.check for check in checks] == [
        "tensors", "signature", "base", "recipe", "recordings", "rights", "held out", "slices", "originals",
    ]  # fmt: skip
    assert {check.status for check in checks} == {"proved"}
    assert [each.exit_code for each in verify(road.run)] == [0, 0]
    assert {check.status for each in verify(road.run) for check in each.checks} == {"proved", "not asked"}


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_statement(road: Road) -> None:
    """The statement says another thing, and is not signed anew."""
    file = road.run / "adapter" / "statement.dsse.json"
    envelope = read_envelope(file.read_bytes(), "it")
    said = envelope.statement()
    said["predicate"]["claims"]["training_set"]["clips"] = 5
    file.write_bytes(replace(envelope, payload=canonical(said)).to_bytes())


WEIGHTS = "adapter/adapter_model.safetensors"
TAMPERINGS: dict[str, tuple[Callable[[Road], object], str, str]] = {
    "one bit of a tensor": (lambda r: flip(r.run / WEIGHTS, -1), "tensors", "are not those that its header says"),
    "the header": (lambda r: swap_bytes(r.run / WEIGHTS, b'\\"step\\": 6', b'\\"step\\": 7'), "tensors", "header or"),
    "the configuration": (
        lambda r: swap(r.run / "adapter/adapter_config.json", '"lora_alpha": 4', '"lora_alpha": 8'),
        "tensors",
        "configuration were changed",
    ),
    "the statement": (edit_statement, "signature", "one of the two was changed"),
    "the record of the training set": (
        lambda r: swap(r.run / "training_set.jsonl", "take 0.wav", "take 9.wav"), "recordings", "not the one that was",
    ),
    "the record of the rights": (
        lambda r: swap(r.run / "rights.jsonl", "Ada", "Bob"), "recordings", "not the one that was stated",
    ),
    "the recipe": (
        lambda r: swap(r.run / "recipe.yaml", "learning_rate: 0.01", "learning_rate: 0.02"), "recipe", "learning_rate",
    ),
    "the manifest": (lambda r: swap(r.dataset / "manifest.jsonl", "take 0.wav", "take 1.wav"), "slices", "Manifest"),
    "a rights file": (lambda r: swap(r.dataset / "rights.jsonl", "Ada", "Bob"), "slices", "rights"),
    "a slice": (lambda r: flip(next((r.dataset / "train").glob("*.wav")), -1), "slices", "1 slices"),
    "an original": (lambda r: write_take(r.takes / "take 2.wav", seed=77), "originals", "its sound is another"),
}  # fmt: skip


def swap_bytes(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_found(road: Road, what: str) -> None:
    tamper, where, sentence = TAMPERINGS[what]
    tamper(road)
    code, checks = look(road)
    assert code == 2
    assert sentence in failed(checks)[where]


def test_a_swapped_base_is_found(road: Road, tmp_path: Path) -> None:
    other = tmp_path / "tiny"
    shutil.copytree(road.base, other)
    weights = next((other / "transformer").glob("*.safetensors"))
    flip(weights, -1)
    code, checks = look(road, base=str(other))
    assert code == 2
    assert "is not the one stated" in failed(checks)["base"]


def test_no_change_of_a_single_byte_passes(road: Road) -> None:
    """A thousand of them, each in a place drawn at random: in a run, in an export, in a dataset."""
    exported = road.run / "export" / "tiny.safetensors"
    export(road.run, "stable-audio-3", exported, base=str(road.base))
    folder = road.run / "adapter"
    record = [road.run / "training_set.jsonl", road.run / "rights.jsonl"]
    (road.run / "recipe.yaml").unlink()  # compared by its meaning, below
    files = dict.fromkeys([*folder.iterdir(), *record], folder)
    files |= dict.fromkeys(exported.parent.iterdir(), exported)
    slices = [next((road.dataset / split).glob("*.wav")) for split in ("train", "validation")]
    of_dataset = [road.dataset / "manifest.jsonl", road.dataset / "rights.jsonl", *slices]
    draw = random.Random(3)
    for number in range(CHANGES):
        with_dataset = number % 10 == 0
        file = draw.choice(of_dataset if with_dataset else list(files))
        content = file.read_bytes()
        place, bits = draw.randrange(len(content)), draw.randrange(1, 256)
        file.write_bytes(content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :])
        (seen,) = verify(files.get(file, folder), road.dataset if with_dataset else None)
        assert seen.exit_code == 2, f"{file.name}, byte {place} ^ {bits}"
        file.write_bytes(content)
    assert look(road, base=str(road.base))[0] == look(road, exported, base=str(road.base))[0] == 0


def test_each_key_that_decides_what_is_learned_is_compared(road: Road) -> None:
    swap(road.run / "recipe.yaml", f"model: {road.base}", "model: /elsewhere/tiny")  # the base may move
    assert look(road, base=str(road.base))[0] == 0
    swap(road.run / "recipe.yaml", "seed: 0", "seed: 1")
    assert "seed differ" in failed(look(road)[1])["recipe"]


def test_a_part_that_was_not_stated_is_found(road: Road) -> None:
    shutil.copytree(road.run / "adapter", road.run / "adapter" / "duration_embedder")
    assert "is not stated" in failed(look(road)[1])["tensors"]


def test_who_signs_a_lie_anew_is_another_signer(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = key_id(read_key().public_key())  # type: ignore[union-attr]
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "thief"))
    thief = make_key()
    file = road.run / "adapter" / "statement.dsse.json"
    file.write_bytes(sign(read_envelope(file.read_bytes(), "it").payload, thief).to_bytes())
    assert (
        "one of the two" in failed(look(road, trusted=mine)[1])["signature"]
    )  # the statement names its signer


def test_whose_the_signature_is_must_be_known(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = key_id(read_key().public_key())  # type: ignore[union-attr]
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "somebody"))
    code, checks = look(road)
    assert code == 3
    assert f"--trust {mine}" in checks[1].words
    assert look(road, trusted=mine)[0] == 0
    code, checks = look(road, trusted="0" * 64)
    assert code == 2
    assert "and not with 0000" in failed(checks)["signature"]


def test_what_is_missing_is_incomplete_and_no_tampering(road: Road, tmp_path: Path) -> None:
    alone = tmp_path / "adapter"
    shutil.copytree(road.run / "adapter", alone)
    code, checks = look(road, alone, dataset=None, recordings=None)
    assert code == 3
    assert {check.check for check in checks if check.status == "incomplete"} == {
        "base", "recordings", "rights", "held out",
    }  # fmt: skip
    assert look(road, alone, base=str(road.base))[0] == 0  # the dataset gives the same root again
    (road.takes / "take 1.wav").unlink()
    code, checks = look(road)
    assert (code, checks[-1].status) == (3, "incomplete")
    (road.run / "adapter" / "statement.dsse.json").unlink()
    code, checks = look(road)
    assert code == 3
    assert "There is no statement" in checks[1].words


def test_an_adapter_of_before_is_incomplete(tiny_base_folder: Path, tmp_path: Path) -> None:
    from test_export import make_run

    run = make_run(tmp_path / "old", tiny_base_folder)
    (seen,) = verify(run)
    assert seen.exit_code == 3
    assert not failed(list(seen.checks))
    assert describe(run).words == "Nothing is recorded of what this adapter was made from."


def test_without_a_key_it_is_incomplete_until_it_is_signed(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "new"))
    for name in ("adapter", "best"):
        file = road.run / name / "statement.dsse.json"
        payload = read_envelope(file.read_bytes(), "it").statement()
        del payload["predicate"]["made"]["signer"]
        file.write_bytes(Envelope(canonical(payload)).to_bytes())
    asked = ["verify", str(road.run), "--base", str(road.base)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 3
    assert "woodshed keys" in result.output
    assert CliRunner().invoke(app, ["keys", "--sign", str(road.run)]).exit_code == 0
    result = CliRunner().invoke(app, [*asked, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["exit_code"] == 0
    assert describe(road.run).yours


def test_a_key_that_others_may_read_signs_nothing_and_stops_nothing(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "open"))
    make_key()
    key_file().chmod(0o644)
    out = tmp_path / "a.safetensors"
    export(road.run, "comfyui", out, base=str(road.base))
    assert "may be read by others" in capsys.readouterr().err
    assert describe(out).signature == "unsigned"


def test_what_was_tampered_with_is_not_signed(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "new"))
    file = road.run / "adapter" / "statement.dsse.json"
    file.write_bytes(replace(read_envelope(file.read_bytes(), "it"), key_id=None, signature=None).to_bytes())
    flip(road.run / WEIGHTS, -1)
    result = CliRunner().invoke(app, ["keys", "--sign", str(road.run / "adapter")])
    assert isinstance(result.exception, WoodshedError)
    assert "is not signed" in str(result.exception)


def test_clips_without_a_right_end_with_4(road: Road, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "made by hand", [0.5, 0.5], [0.4])
    run = train(
        make_recipe(road.base, dataset, tmp_path / "more", training__steps=1, validation__every=1)
    ).run
    code, checks = look(road, run / "adapter", dataset=None, recordings=None)
    assert code == 4
    assert failed(checks).keys() == {"rights"}
    assert "nothing is stated of the rights in take 0.wav" in failed(checks)["rights"]


def test_a_right_that_is_none_ends_with_4(road: Road, tmp_path: Path) -> None:
    swap(road.dataset / "rights.jsonl", '"basis": "own_recording"', '"basis": "found_it"')
    run = train(make_recipe(road.base, road.dataset, tmp_path / "more", training__steps=1)).run
    code, checks = look(road, run / "adapter")
    assert code == 4
    assert "names no right that allows it" in failed(checks)["rights"]


def test_a_held_out_clip_that_was_trained_on_is_found(road: Road) -> None:
    record = read_record(road.run)
    trained, held_out = record.split("train")[0], record.split("validation")[0]
    leaves = [
        leaf | {"pcm_sha256": trained["pcm_sha256"]} if leaf == held_out else leaf for leaf in record.leaves
    ]
    check = check_held_out(gather(find_place(road.run)), replace(record, leaves=leaves))
    assert held_out["id"] in check.words
    assert exit_code([check]) == 2


CHANGED = {"peft": "adapter_model.safetensors", "merged": "transformer/diffusion_pytorch_model.safetensors"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_export_carries_where_it_comes_from(road: Road, program: Program) -> None:
    out = road.run / "export" / (program if program in ("peft", "merged") else f"{program}.safetensors")
    done = export(road.run, program, out, base=str(road.base))
    assert done.statement and Path(done.statement).is_file()
    code, checks = look(road, out)
    assert (code, failed(checks)) == (0, {})
    claims = describe(out).claims
    assert claims and claims["derived_from"]["program"] == program
    assert claims["derived_from"]["signed_by"] == key_id(read_key().public_key())  # type: ignore[union-attr]
    flip(out if out.is_file() else Path(done.statement).parent / CHANGED[program], -1)
    assert look(road, out)[0] == 2


def test_an_export_of_a_tampered_adapter_claims_nothing(road: Road, tmp_path: Path) -> None:
    flip(road.run / WEIGHTS, -9, bit=4)
    done = export(road.run, "comfyui", tmp_path / "a.safetensors", base=str(road.base))
    assert "not carried along" in done.notes[0]
    assert done.statement is None
    assert describe(tmp_path / "a.safetensors").claims is None


def test_a_fork_answers_for_what_its_parent_learned(road: Road) -> None:
    recipe = road.run / "recipe.yaml"
    swap(recipe, str(Path(recipe.read_text().split("dataset: ")[1].split("\n")[0])), str(road.dataset))
    child = fork(road.run, "child", ["training.steps=7"]).run
    assert look(road, child / "adapter")[0] == 0
    began = describe(child).claims["began_with"]  # type: ignore[index]
    assert began == {"name": "tiny", "known": True, "training_sets": [read_record(road.run).root("train")]}
    shutil.rmtree(child / "inherited")
    for file in (child / "training_set.jsonl", child / "rights.jsonl"):
        file.write_bytes(file.read_bytes())  # its own set is the parent's, so nothing is missing
    assert look(road, child / "adapter")[0] == 0


def test_a_run_whose_dataset_says_something_else_of_rights_does_not_go_on(road: Road) -> None:
    changes = [f"data.dataset={road.dataset}", "training.steps=8"]
    assert resume(road.run, changes[:1]).step == 6
    swap(road.dataset / "rights.jsonl", "Ada", "Bob")
    with pytest.raises(WoodshedError, match="not what it said when this run began"):
        resume(road.run, changes)


def test_a_sound_that_the_manifest_does_not_name_is_not_trained_on(road: Road, tmp_path: Path) -> None:
    flip(next((road.dataset / "train").glob("*.wav")), -1)
    assert data_prep_dataset.clips(road.dataset)
    with pytest.raises(WoodshedError, match="is not the sound that manifest"):
        train(make_recipe(road.base, road.dataset, tmp_path / "more"))


def test_what_is_nothing_is_said(road: Road, tmp_path: Path) -> None:
    empty = tmp_path / "empty.safetensors"
    empty.touch()
    for path in (tmp_path / "nowhere", road.takes, road.run.parent):
        with pytest.raises(WoodshedError, match=r"nothing in|holds no adapter"):
            verify(path)
    assert verify(empty)[0].exit_code == 2
    with pytest.raises(WoodshedError, match="there is no folder"):
        verify(road.run, dataset=tmp_path / "nowhere")

"""One clip shown without the others, and one recording withdrawn from all that follows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import make_recipe
from provenance_run import Road, walk
from typer.testing import CliRunner

from data_prep import Rights, Settings, prepare
from data_prep.dataset import DatasetError, clips
from data_prep.ownership.rights import Basis
from data_prep.slicing.slices import Slicing
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.export import export
from finetune.provenance.inclusion import check_inclusion, prove_inclusion
from finetune.provenance.place import find_place
from finetune.provenance.signature import your_key_id
from finetune.provenance.training_set import read_dataset, read_record
from finetune.provenance.verify import verify
from finetune.provenance.withdraw import withdraw
from finetune.trainer import fork, train


@pytest.fixture(scope="module")
def signed(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Road:
    root = tmp_path_factory.mktemp("road")
    with pytest.MonkeyPatch.context() as patch:
        return walk(root, tiny_base_folder, root / "config", patch)


@pytest.fixture
def road(signed: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setenv("WOODSHED_CONFIG", str(signed.takes.parent / "config"))
    return signed.copy(tmp_path)


def trained_on(road: Road) -> tuple[str, str]:
    """Name and PCM hash of a recording that was."""
    leaf = read_record(road.run).split("train")[0]
    return leaf["recording"], leaf["pcm_sha256"]


def again(road: Road) -> None:
    settings = Settings(Slicing.fixed, seconds=0.5, validation=0.3)
    prepare(road.takes, road.dataset, Rights(Basis.own_recording, "Ada"), settings, workers=1)


def test_the_same_dataset_gives_the_same_roots_and_no_salt_twice(road: Road) -> None:
    record = read_record(road.run)
    assert read_dataset(road.dataset) == record
    assert len({leaf["salt"] for leaf in record.leaves}) == len(record.leaves)


def test_one_clip_is_shown_and_no_other(road: Road, tmp_path: Path) -> None:
    record = read_record(road.run)
    for shown in record.split("train"):
        proof = tmp_path / "proof.json"
        proof.write_bytes(prove_inclusion(road.run, shown["id"]))
        wav = road.dataset / "train" / f"{shown['id']}.wav"
        seen = check_inclusion(proof, None, wav)
        assert {check.status for check in seen.checks} == {"proved"}
        assert seen.clip == shown
        for other in record.leaves:
            if other != shown:
                secret = {key: other[key] for key in ("id", "clip_sha256", "row_sha256", "salt")}
                assert not [key for key, value in secret.items() if value.encode() in proof.read_bytes()]


def test_a_proof_that_was_changed_is_found(road: Road, tmp_path: Path) -> None:
    clip = read_record(road.run).split("train")[2]["id"]
    proof = json.loads(prove_inclusion(road.run, clip))
    file = tmp_path / "proof.json"

    def result(**changes: object) -> int:
        changed = json.dumps({**proof, **changes}, sort_keys=True, separators=(",", ":"))
        file.write_text(changed + "\n", encoding="utf-8")
        return CliRunner().invoke(app, ["prove-inclusion", "--check", str(file)]).exit_code

    assert result() == 0
    assert result(clip=proof["clip"] | {"recording": "another.wav"}) == 2
    assert result(index=proof["index"] + 1) == 2
    assert result(size=proof["size"] + 1) == 2
    assert result(path=proof["path"][1:]) == 2
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(WoodshedError, match="no proof of inclusion"):
        check_inclusion(file, None)


def test_a_proof_says_who_signed(road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, signer = tmp_path / "proof.json", your_key_id()
    file.write_bytes(prove_inclusion(road.run, read_record(road.run).split("train")[0]["id"]))
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "nobody"))
    assert [check.status for check in check_inclusion(file, None).checks] == ["proved", "incomplete"]
    assert [check.status for check in check_inclusion(file, signer).checks] == ["proved", "proved"]
    assert [check.status for check in check_inclusion(file, "0" * 64).checks] == ["proved", "failed"]


def test_what_was_not_trained_on_has_no_proof(road: Road) -> None:
    with pytest.raises(WoodshedError, match="it was held out"):
        prove_inclusion(road.run, read_record(road.run).split("validation")[0]["id"])
    with pytest.raises(WoodshedError, match="no clip has this id"):
        prove_inclusion(road.run, "nothing")


def test_what_was_withdrawn_is_left_out_and_refused_and_listed(road: Road, tmp_path: Path) -> None:
    name, pcm = trained_on(road)
    elsewhere = tmp_path / "elsewhere" / "kit.safetensors"
    export(road.run, "comfyui", elsewhere, base=str(road.base))
    asked = ["withdraw", name, "--dataset", str(road.dataset), "--runs", str(road.run.parent)]
    asked += ["--runs", str(elsewhere.parent), "--reason", "asked for it", "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert {each["path"] for each in done["contains"]} == {
        str(road.run / "adapter"), str(road.run / "best"), str(elsewhere),
    }  # fmt: skip
    assert (done["pcm_sha256"], done["before"], done["unknown"]) == (pcm, False, [])
    assert done["clips"] == sum(leaf["recording"] == name for leaf in read_record(road.run).leaves)
    assert json.loads(CliRunner().invoke(app, asked).stdout)["before"] is True

    (seen,) = verify(road.run / "adapter", base=str(road.base))
    assert seen.exit_code == 4
    assert "asked for it" in next(check.words for check in seen.checks if check.check == "rights")
    assert verify(elsewhere, road.dataset, base=str(road.base))[0].exit_code == 4

    with pytest.raises(DatasetError, match=r"was withdrawn on .*: asked for it.*woodshed prep"):
        clips(road.dataset)
    with pytest.raises(WoodshedError, match="was withdrawn on"):
        train(make_recipe(road.base, road.dataset, tmp_path / "more"))
    again(road)
    left = {clip.recording for clip in clips(road.dataset)}
    assert name not in left
    assert len(left) == 4
    rows = [json.loads(line) for line in (road.dataset / "recordings.jsonl").read_text("utf-8").splitlines()]
    assert next(row for row in rows if row["recording"] == name)["left_out"]["gate"] == "withdrawn"
    assert not list(road.dataset.rglob(f"{Path(name).stem.replace(' ', '-')}-*.wav"))
    (seen,) = verify(road.run / "adapter", road.dataset, base=str(road.base))
    assert seen.exit_code == 4  # what prep took out is not said to be tampered with
    before = (road.dataset / "manifest.jsonl").read_bytes()
    again(road)
    assert (road.dataset / "manifest.jsonl").read_bytes() == before


def test_the_same_sound_under_another_name_stays_withdrawn(road: Road) -> None:
    name, pcm = trained_on(road)
    withdraw(str(road.takes / name), road.dataset, [])
    (road.takes / name).rename(road.takes / "nothing to see.wav")
    again(road)
    assert pcm not in (road.dataset / "manifest.jsonl").read_text("utf-8")


def test_a_fork_on_other_recordings_contains_what_its_parent_learned(road: Road, tmp_path: Path) -> None:
    name, _ = trained_on(road)
    withdraw(name, road.dataset, [])
    again(road)
    changes = [f"data.dataset={road.dataset}", "training.steps=7"]
    child = fork(road.run, "child", changes).run
    (seen,) = verify(child / "adapter", base=str(road.base))
    assert seen.exit_code == 0  # the run itself is not marked yet
    done = withdraw(name, road.dataset, [road.run.parent])
    assert str(child / "adapter") in {each.path for each in done.contains}
    assert str(child) in done.runs
    (seen,) = verify(child / "adapter", base=str(road.base))
    assert seen.exit_code == 4
    shutil.rmtree(child / "inherited")
    (seen,) = verify(child / "adapter", base=str(road.base))
    assert next(check.status for check in seen.checks if check.check == "rights") == "incomplete"


def test_an_adapter_of_which_nothing_is_known_is_named(road: Road, tmp_path: Path) -> None:
    shutil.copytree(road.run / "adapter", tmp_path / "alone" / "kit")
    done = withdraw(trained_on(road)[0], road.dataset, [tmp_path / "alone"])
    assert done.contains == []
    assert done.unknown == [str(tmp_path / "alone" / "kit")]
    assert find_place(Path(done.unknown[0])).is_folder


def test_which_recording_is_meant_must_be_known(road: Road, tmp_path: Path) -> None:
    with pytest.raises(WoodshedError, match=r"No recording of .* is called 'no.wav'"):
        withdraw("no.wav", road.dataset, [])
    with pytest.raises(WoodshedError, match="is no dataset"):
        withdraw("take 0.wav", tmp_path, [])
    with pytest.raises(WoodshedError, match="there is no folder"):
        withdraw("take 0.wav", road.dataset, [tmp_path / "nowhere"])
    (road.dataset / "withdrawn.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match="cannot be read"):
        clips(road.dataset)

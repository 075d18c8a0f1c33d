"""`woodshed evaluate` from beginning to end on a toy base: what is measured, written, said; failures are sentences."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from finetune.adapter.formats import read_adapter
from finetune.base_model import load_base
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.evaluation import evaluate as evaluation
from finetune.evaluation.candidates import Candidate, candidates, choose, read_candidate
from finetune.evaluation.evaluate import evaluate
from finetune.evaluation.files import read_evaluation
from finetune.evaluation.kept import kept_prompts
from finetune.evaluation.ladder import LADDER
from finetune.evaluation.results import Evaluation
from finetune.evaluation.score import Settings, lessened
from finetune.recipe import to_yaml
from finetune.run_folder import recipe_of
from finetune.tracking import read_log
from finetune.trainer import train
from finetune.watch import validations
from tests.finetune.conftest import make_recipe, write_dataset

FEW = Settings(sounds=2, seeds=1, steps=1)
ARGUMENTS = ["--sounds", "2", "--seeds", "1", "--steps", "1"]


@pytest.fixture(scope="module")
def place(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of six steps, `runs/tiny`, and its dataset."""
    root = tmp_path_factory.mktemp("evaluated")
    data = write_dataset(root / "dataset", [0.5, 0.5, 0.5, 0.3, 0.8], [0.5, 0.4, 0.4])
    train(make_recipe(tiny_base_folder, data, root / "runs", samples__every=0))
    return root


@pytest.fixture(scope="module")
def found(place: Path) -> Evaluation:
    return evaluate(place / "runs" / "tiny", FEW)


def test_it_is_written_whole_and_read_back(found: Evaluation, place: Path) -> None:
    run = place / "runs" / "tiny"
    assert read_evaluation(run) == found
    files = {f"audio/{path.name}" for path in (run / "evaluation" / "audio").iterdir()}
    assert files == {sound.file for sound in found.sounds}
    assert str(place) not in (run / "evaluation" / "evaluation.json").read_text("utf-8")


def test_the_held_out_losses_are_those_of_the_log(found: Evaluation, place: Path) -> None:
    rows = {row["step"]: row for row in validations(read_log(place / "runs" / "tiny"))}
    learned = found.learned
    assert learned.held_out is not None and learned.training is not None
    assert learned.held_out.base == pytest.approx(rows[0]["held_out_loss"], rel=1e-5)
    assert learned.held_out.adapted == pytest.approx(rows[found.step]["held_out_loss"], rel=1e-5)
    assert learned.training.adapted == pytest.approx(rows[found.step]["training_set_loss"], rel=1e-5)
    assert learned.strengths[LADDER.index(1.0)].held_out == pytest.approx(learned.held_out.adapted)
    logged = {each.step: each.held_out_loss for each in found.checkpoints if each.held_out_loss is not None}
    assert logged == {step: row["held_out_loss"] for step, row in rows.items()}


def test_the_effect_is_none_at_strength_0_and_grows(found: Evaluation) -> None:
    strengths = [each.relative for each in found.effect.strengths]
    assert [float(each.at) for each in found.effect.strengths] == list(LADDER)
    assert strengths[0] == 0 and strengths == sorted(strengths) and strengths[-1] > 0
    assert len(found.effect.bands) == 5 and len(found.effect.blocks) == 2
    assert found.kept.strengths[0].relative == 0 and found.kept.strengths[0].distance == found.kept.floor


def test_sounds_of_a_pair_have_one_prompt_and_seed(found: Evaluation) -> None:
    pairs: dict[str, set[object]] = {}
    for sound in found.sounds:
        if sound.pair:
            pairs.setdefault(sound.pair, set()).add((sound.prompt, sound.seed, sound.seconds))
    assert all(len(each) == 1 for each in pairs.values())
    kinds = {(sound.kind, sound.prompt_set) for sound in found.sounds}
    assert kinds >= {
        ("base", "set"),
        ("adapted", "set"),
        ("base", "kept"),
        ("adapted", "kept"),
        ("held out", "set"),
    }
    assert {each.sound for each in found.copied.nearest} <= {sound.id for sound in found.sounds}


def test_adapters_of_a_run_are_found_and_checkpoints_hold_the_same_weights(
    place: Path, tiny_base_folder: Path
) -> None:
    run = place / "runs" / "tiny"
    base, recipe = load_base(str(tiny_base_folder)), recipe_of(run)
    names = [each.name for each in candidates(run)]
    assert names[:2] == ["best", "adapter"] and "checkpoints/step-000006" in names
    assert choose(run, "6").step == 6 and choose(run, None).name == "best"
    of_checkpoint = read_candidate(run, recipe, Candidate("checkpoints/step-000006", 6), base).modules
    at_the_end = read_adapter(run / "adapter", base).modules
    assert of_checkpoint.keys() == at_the_end.keys()
    for name, part in at_the_end.items():
        assert part.scale == of_checkpoint[name].scale
        assert part.up.equal(of_checkpoint[name].up) and part.down.equal(of_checkpoint[name].down)
    with pytest.raises(WoodshedError, match=r"has no adapter '17'. It has: best \(step"):
        choose(run, "17")


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    """The run, to change it."""
    return Path(shutil.copytree(place / "runs" / "tiny", tmp_path / "tiny"))


def test_an_adapter_that_does_nothing_is_told_loudly(copy: Path) -> None:
    weights = copy / "adapter" / "adapter_model.safetensors"
    tensors = {n: t * 0 if "lora_B" in n else t for n, t in load_file(weights).items()}
    shutil.rmtree(copy / "checkpoints")
    save_file(tensors, weights)
    result = CliRunner().invoke(app, ["evaluate", str(copy), "--adapter", "adapter", *ARGUMENTS, "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["effect"] == "nothing" and said["recommendation"]["action"] == "do not use"
    assert Path(said["page"]).is_file() and Path(said["evaluation"]).is_file()
    found = read_evaluation(copy)
    assert found.effect.relative == 0 and found.learned.verdict == "nothing"
    assert found.effect.words.startswith("This adapter does nothing")


def test_without_held_out_clips_it_is_unknown_and_says_the_cure(
    place: Path, copy: Path, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "all", [0.5, 0.5, 0.4], [])
    found = evaluate(copy, replace(FEW, dataset=str(data)))
    assert found.learned.verdict == "unknown" and "Record one take more" in found.learned.words
    assert found.learned.held_out is None and found.learned.distances == []
    assert found.recommendation.action in ("use", "do not use", "take an earlier checkpoint")


def test_what_is_stopped_leaves_the_earlier_evaluation(
    copy: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_before = {path.name for path in copy.iterdir()}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "judge_copied", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate(copy, FEW)
    assert {path.name for path in copy.iterdir()} == evaluate_before


def test_what_cannot_be_evaluated_is_a_sentence(copy: Path, tmp_path: Path, tiny_base_folder: Path) -> None:
    with pytest.raises(WoodshedError, match="There is no run in"):
        evaluate(tmp_path / "none", FEW)
    with pytest.raises(WoodshedError, match="trained on another base"):
        evaluate(copy, replace(FEW, base="starter"))
    with pytest.raises(WoodshedError, match=r"no manifest.jsonl|has no folder|manifest"):
        evaluate(copy, replace(FEW, dataset=str(tmp_path / "away")))
    for folder in ("best", "adapter", "checkpoints"):
        shutil.rmtree(copy / folder)
    with pytest.raises(WoodshedError, match="has no adapter yet"):
        evaluate(copy, FEW)


def test_minutes_lessen_what_is_played_but_never_below_what_distances_need() -> None:
    wanted, kept = Settings(sounds=6, seeds=2, minutes=1.0), kept_prompts("starter")
    assert lessened(wanted, kept, 0.1)[0] == wanted
    some, prompts = lessened(wanted, kept, 2.0)
    assert 2 * some.seeds * (3 * some.sounds + 4 * len(prompts.prompts)) <= 60
    least, prompts = lessened(wanted, kept, 1000.0)
    assert (least.sounds, least.seeds, len(prompts.prompts)) == (2, 1, 2)
    assert lessened(replace(wanted, minutes=None), kept, 1000.0)[0].sounds == 6


def test_training_ends_with_it_where_the_recipe_says_so(
    place: Path, tiny_base_folder: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(
        tiny_base_folder, place / "dataset", tmp_path / "runs", samples__every=0, evaluation__at_end=True,
        evaluation__sounds=2, evaluation__seeds=1, evaluation__steps=1, training__steps=2,
    )  # fmt: skip
    file = tmp_path / "recipe.yaml"
    file.write_text(to_yaml(recipe), encoding="utf-8")
    result = CliRunner().invoke(app, ["train", str(file), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["status"] == "finished"
    assert read_evaluation(tmp_path / "runs" / "tiny").step in (1, 2)
    resumed = CliRunner().invoke(app, ["resume", str(tmp_path / "runs" / "tiny"), "evaluation.at_end=false"])
    assert resumed.exit_code == 0, resumed.output

"""Recipes: the shipped ones, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from finetune.errors import WoodshedError
from finetune.recipe import Recipe, differing_keys, load_recipe, options, to_yaml, values

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def problems(tmp_path: Path, text: str, *overrides: str) -> str:
    file = tmp_path / "wrong.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(WoodshedError) as caught:
        load_recipe(file, [f"data.dataset={tmp_path}", *overrides])
    return str(caught.value)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_shipped_recipes_hold(file: Path, tmp_path: Path) -> None:
    recipe = load_recipe(file, [f"data.dataset={tmp_path}"])
    assert recipe.name == file.stem
    written = OmegaConf.load(file)
    keys = [key for key in values(recipe) if OmegaConf.select(written, key, default=None) is not None]
    assert 1 <= len(keys) <= 45
    assert file.read_text().startswith(f"# woodshed train recipes/{file.name} ")


def test_all_five_are_shipped() -> None:
    assert [file.stem for file in RECIPES] == ["breaks", "low_memory", "one_shots", "starter", "takes"]


def test_every_key_has_a_line_of_help() -> None:
    keys = {name: metadata for name, _, metadata in options()}
    assert all(10 < len(metadata["help"]) < 100 for metadata in keys.values())
    groups = list(dict.fromkeys(name.partition(".")[0] for name in keys))
    assert ", ".join(groups) == (
        "name, seed, base, data, adapter, training, optimizer, validation, samples, evaluation, tracking, output"
    )


def test_a_recipe_survives_its_own_yaml(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    recipe = load_recipe(RECIPES[0], [f"data.dataset={tmp_path}", "samples.prompts=['a: b', c]", "seed=5"])
    file.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(file, []) == recipe
    assert recipe.samples.prompts == ["a: b", "c"] and recipe.seed == 5
    other = load_recipe(file, ["adapter.rank=7", "optimizer.learning_rate=2e-4"])
    assert differing_keys(recipe, other) == ["adapter.rank", "optimizer.learning_rate"]
    assert other.optimizer.learning_rate == 2e-4


@pytest.mark.parametrize("layers", ["0-7,12", "0,3", "12"])
def test_ranges_of_blocks_are_read_as_they_are_written(layers: str, tmp_path: Path) -> None:
    file = tmp_path / "blocks.yaml"
    file.write_text(f"name: a\nadapter:\n  layers: {layers}\n", encoding="utf-8")
    assert load_recipe(file, [f"data.dataset={tmp_path}"]).adapter.layers == layers
    again = load_recipe(file, [f"data.dataset={tmp_path}", f"adapter.layers={layers}"])
    assert again.adapter.layers == layers and load_recipe(_saved(again, file), []).adapter.layers == layers


def _saved(recipe: Recipe, file: Path) -> Path:
    file.write_text(to_yaml(recipe), encoding="utf-8")
    return file


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        "name: a\nadapter:\n  rnak: 8\n  rank: 0\n  kind: loha\ntraining:\n  steps: many\n",
        "seeed=3",
        "optimizer.betas=[1,2]",
    )
    assert "6 problems" in told
    assert "line 3: adapter.rnak is not a key of a recipe; did you mean adapter.rank?" in told
    assert "line 4: adapter.rank is 0 and must be at least 1." in told
    assert "line 5: adapter.kind is 'loha' and must be one of lora, dora." in told
    assert "line 7: training.steps is 'many' and must be a whole number." in told
    assert "seeed=3: seeed is not a key of a recipe; did you mean seed?" in told
    assert "optimizer.betas=[1,2]: optimizer.betas is [1.0, 2.0] and must be two numbers" in told


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("rank: 8", "did you mean adapter.rank?"),
        ("base: starter", "base is a group of keys and has no value of its own"),
        ("seed: true", "seed is True and must be a whole number"),
        ("seed: 1.5", "seed is 1.5 and must be a whole number"),
        ("seed: -1", "seed is -1 and must be at least 0"),
        ("data: {crop_seconds: .nan}", "data.crop_seconds is nan and must be above 0"),
        ("data: {crop_seconds: 1000}", "must be at most 384"),
        ("optimizer: {warmup_steps: 5000}", "more than training.steps"),
        ("optimizer: {name: prodigy}", "prodigy multiplies the rate that it finds by it; set it to 1"),
        ("optimizer: {name: prodigy, learning_rate: 1, lora_plus: 16}", "prodigy knows one rate"),
        ("training: {inpainting_shares: [1, 1, 1]}", "three shares that add up to 1"),
        ("samples: {prompts: ['kick', ' ']}", "samples.prompts holds an empty prompt"),
        ("data: {trigger: ' '}", "data.trigger is empty"),
        (
            "training: {prior_share: 0.2}",
            "in training.prior_prompts, or name the word that calls the adapter",
        ),
        ("training: {prior_prompts: ['']}", "training.prior_prompts holds an empty prompt"),
        ("samples: {prompts: kick}", "samples.prompts is 'kick' and must be a list of texts"),
        ("output: {root: '${oc.env:HOME}'}", "output.root holds '${'"),
    ],
)
def test_what_is_said_of_a_wrong_line(line: str, sentence: str, tmp_path: Path) -> None:
    told = problems(tmp_path, f"name: a\n{line}\n")
    assert "has a problem:\n- line 2: " in told
    assert sentence in told


def test_a_dataset_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    told = problems(tmp_path, "name: a\n", f"data.dataset={tmp_path}/none")
    assert f"there is no folder '{tmp_path}/none'; `woodshed prep RECORDINGS DATASET` makes one." in told


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(WoodshedError) as caught:
        load_recipe(file, [])
    assert "- name is missing: name of the run" in str(caught.value)
    assert "- data.dataset is missing: folder that `woodshed prep` wrote." in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "name: a\nname: b\n", "", "just words"])
def test_what_is_no_recipe_at_all_is_a_sentence(text: str, tmp_path: Path) -> None:
    assert "wrong.yaml" in problems(tmp_path, text)


def test_a_missing_file_and_a_bare_word_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(WoodshedError, match="There is no recipe"):
        load_recipe(tmp_path / "none.yaml", [])
    with pytest.raises(WoodshedError, match="'faster' is not an override"):
        load_recipe(RECIPES[0], ["faster"])


def test_defaults_are_the_references() -> None:
    recipe = Recipe()
    training, optimizer = recipe.training, recipe.optimizer
    assert training.conditioning_dropout == 0.1 and training.inpainting_shares == [0.1, 0.8, 0.1]
    assert training.silence_seconds == 4.0 and training.optimal_transport and training.length_shift
    assert training.inpainting and training.context_loss == 1.0 and training.polarity_flip == 0.5
    assert (training.ema, training.prior_share, optimizer.lora_plus) == (None, 0.0, 1.0)
    assert (optimizer.learning_rate, optimizer.betas, optimizer.weight_decay) == (1e-4, [0.9, 0.95], 0.01)
    assert recipe.adapter.rank == 16 and recipe.adapter.alpha is None


def test_the_docs_name_every_key_with_its_help() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipe.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    documented = [(row.split("`")[1], row.rsplit(" | ", 1)[1].removesuffix(" |")) for row in rows]
    assert documented == [(key, metadata["help"]) for key, _, metadata in options()]

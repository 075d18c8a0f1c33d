"""Read a recipe: strict, and every problem reported at once with its line and a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from finetune.errors import WoodshedError
from finetune.files import from_home
from finetune.recipe.tree import Recipe, options, values

VALUES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    float | None: "a number or null",
    int | None: "a whole number or null",
    str | None: "text or null",
    list[float]: "a list of numbers, as [0.9, 0.95]",
    list[str]: "a list of texts, as ['a', 'b']",
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def load_recipe(path: Path, overrides: list[str]) -> Recipe:
    """The recipe in `path` with `overrides` (`group.key=value`) on top.

    Raises one WoodshedError that lists every problem: unknown keys with the nearest valid one, wrong types,
    values out of range, what is missing.
    """
    if not path.is_file():
        raise WoodshedError(f"There is no recipe '{path}'.")
    text = path.read_text(encoding="utf-8")
    try:
        lines = dict(_key_lines(yaml.compose(text, Loader=yaml.SafeLoader)))
        read = OmegaConf.create(text)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise WoodshedError(f"The recipe '{path}' is not valid YAML: {error}") from error
    if not isinstance(read, DictConfig):
        raise WoodshedError(f"The recipe '{path}' is not a list of `group: key: value`, as a recipe is.")
    entries = [(f"line {lines.get(key, 1)}: ", key, value) for key, value in _leaves(read)]
    return build_recipe(entries + override_entries(overrides), str(path))


def override_entries(overrides: list[str]) -> list[tuple[str, str, Any]]:
    """(where, dotted key, value) of each `key=value`, for `build_recipe`."""
    entries: list[tuple[str, str, Any]] = []
    for override in overrides:
        key, sign, _ = override.partition("=")
        if not sign:
            raise WoodshedError(f"'{override}' is not an override; write group.key=value.")
        try:
            entries += [(f"{override}: ", *leaf) for leaf in _leaves(OmegaConf.from_dotlist([override]))]
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise WoodshedError(f"'{override}': the value of {key} is not valid YAML.") from error
    return entries


def build_recipe(entries: list[tuple[str, str, Any]], source: str) -> Recipe:
    """A recipe of defaults and `entries`; raises WoodshedError with every problem, each after its `where`."""
    config = OmegaConf.structured(Recipe)
    problems, origin = [], {}
    known = [key for key, _, _ in options()]
    for where, key, value in entries:
        origin[key] = where
        if key not in known:
            problems.append(where + _unknown(key, known))
            continue
        if "${" in str(value):
            problems.append(f"{where}{key} holds '${{', which a recipe cannot; write the value itself.")
            continue
        if isinstance(value, bool) and {"on", "off"} & set(_choices(key)):  # YAML reads on and off as truths
            value = "on" if value else "off"
        try:
            OmegaConf.update(config, key, value, merge=False)
        except OmegaConfBaseException:
            problems.append(f"{where}{key} is {value!r} and must be {wanted_value(key)}.")
    missing = sorted(OmegaConf.missing_keys(config), key=known.index)
    problems += [f"{key} is missing: {_help(key)}." for key in missing]
    for key in missing:
        OmegaConf.update(config, key, "missing")
    recipe = OmegaConf.to_object(config)
    assert isinstance(recipe, Recipe)
    problems += [origin.get(key, "") + text for key, text in _out_of_range(recipe)]
    if "data.dataset" not in missing and not from_home(recipe.data.dataset).is_dir():
        problems.append(
            f"{origin['data.dataset']}data.dataset: there is no folder '{recipe.data.dataset}'; "
            "`woodshed prep RECORDINGS DATASET` makes one."
        )
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise WoodshedError(f"{source} has {count}:\n" + "\n".join(f"- {problem}" for problem in problems))
    return recipe


def _leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and plain value of everything that is not a mapping."""
    for key in config:
        value = config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and len(value):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            plain = isinstance(value, (DictConfig, ListConfig))
            yield f"{prefix}{key}", OmegaConf.to_container(value) if plain else value._value()


def _key_lines(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield f"{prefix}{key.value}", key.start_mark.line + 1
            yield from _key_lines(value, f"{prefix}{key.value}.")


def _unknown(key: str, known: list[str]) -> str:
    groups = {name.partition(".")[0] for name in known if "." in name}
    if key in groups:
        return f"{key} is a group of keys and has no value of its own."
    same_name = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    near = same_name or difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    return f"{key} is not a key of a recipe" + (f"; did you mean {near[0]}?" if near else ".")


def wanted_value(key: str) -> str:
    """What a value of this key is, in words."""
    choices = _choices(key)
    return "one of " + ", ".join(choices) if choices else VALUES[_hint(key)]


def _choices(key: str) -> tuple[str, ...]:
    """The words that a value of this key may be, none where it is no choice of words."""
    hint = _hint(key)
    return get_args(hint) if get_origin(hint) is Literal else ()


def _hint(key: str) -> Any:
    group, _, name = key.rpartition(".")
    return get_type_hints(get_type_hints(Recipe)[group] if group else Recipe)[name]


def _help(key: str) -> str:
    return next(metadata["help"] for name, _, metadata in options() if name == key)


def _out_of_range(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) for every value that its type allows and its meaning does not."""
    have = values(recipe)
    for key, _, limits in options():
        number = have[key]
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            continue
        if limits["low"] is not None and not number >= limits["low"]:
            yield key, f"{key} is {number:g} and must be at least {limits['low']:g}."
        elif limits["above"] is not None and not number > limits["above"]:
            yield key, f"{key} is {number:g} and must be above {limits['above']:g}."
        elif limits["high"] is not None and not number <= limits["high"]:
            yield key, f"{key} is {number:g} and must be at most {limits['high']:g}."
    if not NAME.fullmatch(recipe.name):
        yield "name", f"name is '{recipe.name}' and names a folder: letters, digits, '.', '_' and '-' only."
    betas, shares = recipe.optimizer.betas, recipe.training.inpainting_shares
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        yield "optimizer.betas", f"optimizer.betas is {betas} and must be two numbers from 0 to below 1."
    if len(shares) != 3 or min(shares, default=-1) < 0 or abs(sum(shares) - 1) > 1e-6:
        yield (
            "training.inpainting_shares",
            (f"training.inpainting_shares is {shares} and must be three shares that add up to 1."),
        )
    if recipe.optimizer.warmup_steps > recipe.training.steps:
        yield (
            "optimizer.warmup_steps",
            (
                f"optimizer.warmup_steps is {recipe.optimizer.warmup_steps}, more than training.steps, "
                f"{recipe.training.steps}."
            ),
        )
    yield from _optimizer_problems(recipe)
    yield from _caption_problems(recipe)
    if any(not prompt.strip() for prompt in recipe.samples.prompts):
        yield "samples.prompts", "samples.prompts holds an empty prompt; write what to play, or remove it."


def _optimizer_problems(recipe: Recipe) -> Iterator[tuple[str, str]]:
    group = recipe.optimizer
    if group.name == "prodigy" and group.learning_rate < 0.1:
        yield (
            "optimizer.name",
            (
                f"optimizer.learning_rate is {group.learning_rate:g}, and prodigy multiplies the rate that it finds by "
                "it; set it to 1."
            ),
        )
    if group.name == "prodigy" and group.lora_plus != 1:
        yield (
            "optimizer.lora_plus",
            f"optimizer.lora_plus is {group.lora_plus:g}, and prodigy knows one rate for all weights; leave it out.",
        )


def _caption_problems(recipe: Recipe) -> Iterator[tuple[str, str]]:
    trigger, training = recipe.data.trigger, recipe.training
    if trigger is not None and not trigger.strip():
        yield "data.trigger", "data.trigger is empty; write the word, or null."
    if any(not prompt.strip() for prompt in training.prior_prompts):
        yield (
            "training.prior_prompts",
            "training.prior_prompts holds an empty prompt; write one, or remove it.",
        )
    if training.prior_share and not trigger and not training.prior_prompts:
        yield (
            "training.prior_share",
            (
                "training.prior_share: say what the base should go on playing by itself, in training.prior_prompts, or "
                "name the word that calls the adapter, in data.trigger, for captions without it."
            ),
        )

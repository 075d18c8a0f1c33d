"""Write the card of an export, and copy the licences of its base beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from jinja2 import Environment, StrictUndefined, TemplateError

from finetune.adapter.formats import read_facts
from finetune.adapter.formats.metadata import base_label
from finetune.base_model.hub import hub_name
from finetune.errors import WoodshedError
from finetune.export import Exported
from finetune.files import write_file
from finetune.model_card.licences import Carried, base_folder, carry_licences, licence_slug
from finetune.model_card.loading import in_woodshed, library, loading, verifying
from finetune.model_card.markdown import as_markdown, code, one_line
from finetune.model_card.measured import measured
from finetune.model_card.place import OURS, card_file
from finetune.provenance import describe
from finetune.provenance.place import cards, find_place

_SETTINGS = {
    "adapter.kind": "kind",
    "adapter.rank": "rank",
    "adapter.alpha": "alpha",
    "training.batch_size": "batch size",
    "optimizer.learning_rate": "learning rate",
}
TAGS = ("woodshed", "stable-audio-3", "audio", "music", "percussion", "drums")


@dataclass(frozen=True)
class Card:
    """The card's file and the licence files that were copied beside it."""

    card: str
    licences: list[str]


@dataclass(frozen=True)
class _Subject:
    """What the export says of itself: `header` is Woodshed's own card in it, `facts` what any header says; `base` is
    what its adapter was trained on, or, of a merged one, the base that it was merged into."""

    done: Exported
    header: dict[str, Any]
    facts: dict[str, str]
    base: str | None
    trigger: str | None


def write_card(done: Exported, run: Path | None = None, trigger: str | None = None) -> Card:
    """Write the card of what was exported; `run` is the run it came from, whose evaluation is told where it is of this
    adapter. Nothing in it names a folder of this machine, or a person.

    WoodshedError where the export or the base cannot be read, or the card not be written.
    """
    out = Path(done.out)
    try:
        subject = _subject(done, trigger)
        recorded = subject.header.get("base_fingerprint")
        carried = carry_licences(base_folder(done.base, subject.base, recorded), out)
        text = _page(subject, carried, run)
        write_file(card_file(out), text.encode("utf-8", "replace"))
    except OSError as error:
        raise WoodshedError(
            f"'{out}' is exported and whole, and its model card could not be written: {error.strerror}."
        ) from error
    except (KeyError, TypeError, AttributeError, ValueError, TemplateError) as error:
        raise WoodshedError(
            f"'{out}' is exported and whole, but what its header says of where it comes from is not in Woodshed's "
            "form, so that it has no model card. --no-card exports it without."
        ) from error
    return Card(str(card_file(out)), [str(each.copy) for each in carried])


def _subject(done: Exported, trigger: str | None) -> _Subject:
    out = Path(done.out)
    header = next(iter(cards(find_place(out)).values()), {})
    facts = {} if done.program == "merged" else read_facts(out)
    trained_on = header.get("base") or facts.get("base")
    base = done.base if done.program == "merged" or trained_on is None else str(trained_on)
    learned = (header.get("provenance") or {}).get("recipe", {}).get("data.trigger")
    return _Subject(done, header, facts, base_label(base), trigger or facts.get("trigger") or learned)


def _page(subject: _Subject, carried: list[Carried], run: Path | None) -> str:
    done, out = subject.done, Path(subject.done.out)
    seen = describe(out)
    base = subject.base or "unknown"
    known = subject.base if subject.base == "starter" or (subject.base and hub_name(subject.base)) else None
    page = {
        "name": subject.header.get("name") or subject.facts.get("title") or out.stem,
        "done": done,
        "base": base,
        "repo": known and hub_name(known),
        "fingerprint": subject.header.get("base_fingerprint"),
        "trigger": subject.trigger,
        "loading": loading(done.program, out),
        "in_woodshed": in_woodshed(done.program, out.name, known),
        "known_base": known,
        "training_set": seen.training_set,
        "training": _training(subject, seen.claims or {}),
        "began_with": (seen.claims or {}).get("began_with"),
        "rights": seen.rights,
        "licences": carried,
        "measured": measured(run, subject.header),
        "signature": seen.signature,
        "key_id": seen.key_id,
        "claims": seen.claims,
        "verifying": verifying(out.name, seen.key_id if seen.signature == "signed" else None),
        "code": code,
    }
    template = (files("finetune.model_card") / "card.md.jinja").read_text(encoding="utf-8")
    rules = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=as_markdown,
        autoescape=False,
    )
    body = rules.from_string(template).render(page).strip()
    return f"---\n{_metadata(subject, carried).to_yaml()}\n---\n\n{body}\n"


def _training(subject: _Subject, claims: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> value of the settings that are recorded."""
    recipe = claims.get("recipe", {})
    found = {words: recipe[key] for key, words in _SETTINGS.items() if recipe.get(key) is not None}
    if subject.header.get("step") is not None:
        found = {"steps": subject.header["step"]} | found
    if "rank" not in found and "ss_network_dim" in subject.facts:
        found["rank"] = subject.facts["ss_network_dim"]
    return found | {"recipe, SHA-256": claims["recipe_sha256"]} if "recipe_sha256" in claims else found


def _metadata(subject: _Subject, carried: list[Carried]) -> ModelCardData:
    """What the Hub reads. A base that is no repository there is named in the text alone."""
    merged = subject.done.program == "merged"
    repo = hub_name(subject.base) if subject.base else None
    first = carried[0] if carried else None
    other = first if first and first.hub_id == "other" else None
    facts: dict[str, Any] = {
        "base_model": repo,
        "base_model_relation": repo and ("finetune" if merged else "adapter"),
        "library_name": library(subject.done.program, Path(subject.done.out)),
        "license": first.hub_id if first else None,
        "license_name": other and licence_slug(other.title),
        "license_link": other and other.copy.name,
        "pipeline_tag": "text-to-audio",
        "tags": [*TAGS, *([] if merged else ["lora"])],
        "instance_prompt": subject.trigger and one_line(subject.trigger),
        OURS: {
            "export": Path(subject.done.out).name,
            "program": subject.done.program,
            "licences": {_within(each.copy, Path(subject.done.out)): each.sha256 for each in carried},
        },
    }
    return ModelCardData(**{key: value for key, value in facts.items() if value is not None})


def _within(copy: Path, export: Path) -> str:
    return copy.relative_to(export if export.is_dir() else export.parent).as_posix()

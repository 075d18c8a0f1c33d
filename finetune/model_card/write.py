"""Write the card of an export and copy the licences of its base beside it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from jinja2 import Environment, StrictUndefined

from finetune.adapter.formats.metadata import base_label
from finetune.base_model import find_base
from finetune.base_model.hub import hub_name
from finetune.export import Exported
from finetune.files import write_file
from finetune.licences import Licence, acceptances, commercial_lines, read_licences, text_of
from finetune.model_card.files import card_place
from finetune.provenance import describe
from finetune.provenance.place import cards, find_place

LIBRARIES = {
    "peft": "peft",
    "diffusers": "diffusers",
    "stable-audio-3": "stable-audio-tools",
    "comfyui": "comfyui",
}
_TRAINING = ("training.steps", "adapter.kind", "adapter.rank", "adapter.alpha", "optimizer.learning_rate")
_PARTS = ("effect", "learned", "kept", "copied")


@dataclass(frozen=True)
class Card:
    """The card's file and the licence files that were copied beside it."""

    card: str
    licences: list[str]


def write_card(done: Exported, run: Path | None = None, trigger: str | None = None) -> Card:
    """Write the card of what was exported; `run` is the run it came from, whose evaluation is told.

    Nothing in it names a folder of this machine. WoodshedError where the export or the base cannot be read.
    """
    out = Path(done.out)
    place = card_place(out)
    root = find_base(done.base) if done.base else None
    licences = read_licences(root) if root else []
    copied = []
    for each in licences:
        assert root is not None
        copy = place.licence(each.file.relative_to(root).as_posix())
        write_file(copy, each.file.read_bytes())
        copied.append(copy)
    names = [place.published(copy) for copy in copied]
    text = render(done, licences, names, _evaluation(run), trigger)
    write_file(place.card, text.encode())
    return Card(str(place.card), [str(copy) for copy in copied])


def render(
    done: Exported,
    licences: list[Licence],
    names: list[str],
    evaluation: dict[str, Any] | None,
    trigger: str | None,
) -> str:
    """The card's text; `names` are those of the copied `licences`."""
    out = Path(done.out)
    seen = describe(out)
    header = next(iter(cards(find_place(out)).values()), {})
    claims = seen.claims or {}
    base = base_label(done.base) or header.get("base") or "unknown"
    recipe = claims.get("recipe", {})
    known = acceptances()
    facts = {
        "name": _line(str(header.get("name") or out.stem)),
        "file": out.name,
        "done": done,
        "base": _line(str(base)),
        "trigger": trigger and _line(trigger),
        "claims": claims,
        "training": {key: recipe[key] for key in _TRAINING if recipe.get(key) is not None},
        "rights": seen.rights,
        "training_set": seen.training_set,
        "provenance": seen,
        "evaluation": evaluation,
        "licences": [
            {
                "name": name,
                "title": _line(each.title),
                "sha256": each.sha256,
                "lines": list(commercial_lines(text_of(each.file))),
                "accepted": known.get(each.sha256),
            }
            for each, name in zip(licences, names, strict=True)
        ],
    }
    template = (files("finetune.model_card") / "card.md.jinja").read_text(encoding="utf-8")
    page = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(template)
    metadata = _metadata(done, str(base), licences, names, trigger)
    return f"---\n{metadata.to_yaml()}\n---\n\n{page.render(facts).strip()}\n"


def _metadata(
    done: Exported, base: str, licences: list[Licence], names: list[str], trigger: str | None
) -> ModelCardData:
    """What the Hub reads. A base that is no repository there is named in the text alone."""
    repo, more = hub_name(base), dict[str, Any]()
    if repo:
        more = {"base_model_relation": "finetune" if done.program == "merged" else "adapter"}
    if trigger:
        more["instance_prompt"] = trigger
    apache = bool(licences) and licences[0].title == "Apache License"
    return ModelCardData(
        base_model=repo,
        library_name=LIBRARIES.get(done.program),
        license=("apache-2.0" if apache else "other") if licences else None,
        license_name=_slug(licences[0].title) if licences and not apache else None,
        license_link=names[0] if licences and not apache else None,
        pipeline_tag="text-to-audio",
        tags=["woodshed", "audio", "music", "percussion", "stable-audio-3"]
        + ([] if done.program == "merged" else ["lora"]),
        **more,
    )


def _evaluation(run: Path | None) -> dict[str, Any] | None:
    """Part -> what the run's evaluation says of it in words; None where there is none that can be read."""
    if run is None:
        return None
    try:
        found = json.loads((run / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
        return {part: _line(found[part]["words"]) for part in _PARTS}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _line(text: str) -> str:
    """On one line, with nothing in it that Markdown or HTML would act on."""
    return re.sub(r"([`*_\[\]<>#|\\])", r"\\\1", " ".join(text.split()))


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-")[:80] or "other"

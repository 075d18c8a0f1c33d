"""What the header of an adapter file says: ModelSpec 1.0.1, the `ss_*` keys that web UIs show, Woodshed's card.

Never a path: a base that is a folder is called by that folder's name alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath
from typing import Any

from finetune.adapter.formats.geometry import geometry_of
from finetune.adapter.low_rank import LowRankAdapter

CARD = "woodshed"
TENSORS = "tensors_sha256"  # of the card: the hash of the tensors in the same file
_MODELSPEC = {
    "title": "modelspec.title",
    "licence": "modelspec.license",
    "trigger": "modelspec.trigger_phrase",
    "date": "modelspec.date",
    "architecture": "modelspec.architecture",
    "hash": "modelspec.hash_sha256",
}
_OF_CARD = ("base", "base_fingerprint", "excerpt_seconds", "step", "dataset_sha256", "recipe_sha256")


def facts_of(header: Mapping[str, str], format: str) -> dict[str, str]:
    """`LowRankAdapter.facts` from a header: `format`, then whatever is known of title, licence, trigger, date, base,
    base_fingerprint, the parent of a fork and the like; texts that other trainers wrote keep their `ss_` names."""
    facts = {"format": format}
    facts |= {name: header[key] for name, key in _MODELSPEC.items() if header.get(key)}
    facts |= {key: text for key, text in header.items() if key.startswith("ss_") and len(text) < 200}
    card = _card(header.get(CARD))
    facts |= {key: str(card[key]) for key in _OF_CARD if card.get(key) is not None}
    if isinstance(parent := card.get("parent"), dict):
        facts["parent"] = f"{parent.get('name')}, step {parent.get('step')}"
    if card.get("name"):
        facts.setdefault("title", str(card["name"]))
    card.pop(TENSORS, None)  # it is of that one file
    if card:
        facts[CARD] = json.dumps(card, sort_keys=True)
    return facts


def header_of(adapter: LowRankAdapter, implementation: str) -> dict[str, str]:
    """The header of a file for the program of `implementation`, from the facts of the adapter."""
    facts, parts = adapter.facts, adapter.modules.values()
    base = base_label(facts.get("base"))
    kind, rank = adapter.kinds, max(part.rank for part in parts)
    alpha = max(part.scale * part.rank for part in parts)
    title = facts.get("title", "Woodshed adapter")
    header = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{geometry_of(adapter.modules).architecture}/lora",
        "modelspec.implementation": implementation,
        "modelspec.title": title,
        "modelspec.date": facts.get("date") or datetime.now(UTC).isoformat(timespec="seconds"),
        "modelspec.description": f"{kind} of rank {rank} for {base or 'Stable Audio 3'}, by Woodshed",
        "ss_output_name": title,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": f"{alpha:g}",
        "ss_network_args": json.dumps({"kind": kind}),
    }
    if base:
        header["ss_sd_model_name"] = base
    if "step" in facts:
        header["ss_steps"] = facts["step"]
    if "licence" in facts:
        header["modelspec.license"] = facts["licence"]
    if "trigger" in facts:
        header |= {
            "modelspec.trigger_phrase": facts["trigger"],
            "modelspec.usage_hint": f"Ask for: {facts['trigger']}",
        }
    if card := _card(facts.get(CARD)):
        header[CARD] = json.dumps(card | ({"base": base} if base else {}), sort_keys=True)
    return header


def base_label(name: str | None) -> str | None:
    """What a file calls the base: a Hub name or `starter` as it is, of a folder its last name."""
    if name is None:
        return None
    is_path = name.startswith((".", "~", "/")) or "\\" in name or name.count("/") > 1 or Path(name).is_dir()
    return PureWindowsPath(name).name if is_path else name


def _card(text: str | None) -> dict[str, Any]:
    try:
        card = json.loads(text or "{}")
    except ValueError:
        return {}
    return card if isinstance(card, dict) else {}

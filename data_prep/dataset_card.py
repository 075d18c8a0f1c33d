"""What describes the dataset to others: metadata.jsonl, the card (README.md) and croissant.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_prep.dataset import MANIFEST, SPLITS
from data_prep.files import file_sha256, write_bytes, write_json

Row = dict[str, Any]
_LICENCE_TAG = {"cc0": "cc0-1.0", "public_domain": "other", "licensed": "other"}


def metadata(rows: list[Row]) -> list[Row]:
    """Rows of an AudioFolder's metadata.jsonl: file_name, text, and one column for every plain fact."""
    names = sorted(
        {name for row in rows for name, fact in row["fields"].items() if _is_scalar(fact["value"])}
    )
    return [
        {"file_name": f"{row['id']}.wav", "text": row["text"], "recording": row["recording"]}
        | {name: row["fields"].get(name, {}).get("value") for name in names}
        for row in rows
    ]


def write(root: Path, rows: list[Row], rights: list[Row]) -> list[bool]:
    """Write README.md and croissant.json beside manifest.jsonl, for its rows and those of rights.jsonl; for each
    whether it changed."""
    return [
        write_bytes(root / "README.md", card(rows, rights).encode("utf-8", "backslashreplace")),
        write_json(root / "croissant.json", croissant(rows, rights, file_sha256(root / MANIFEST))),
    ]


def card(rows: list[Row], rights: list[Row]) -> str:
    """The dataset card, with the front matter that the Hugging Face Hub reads."""
    count = {place: [row for row in rows if row["split"] == place] for place in SPLITS}
    table = "\n".join(
        f"| {place} | {len(inside)} | {sum(row['seconds'] for row in inside) / 60:.1f} | "
        f"{len({row['recording'] for row in inside})} |"
        for place, inside in count.items()
        if inside
    )
    size = "n<1K" if len(rows) < 1000 else "1K<n<10K" if len(rows) < 10_000 else "10K<n<100K"
    owners = _joined(rights, "recorded_by")
    return f"""---
license: {_licence_tag(rights)}
pretty_name: {json.dumps(f"Percussion of {owners}", ensure_ascii=False)}
task_categories:
- text-to-audio
tags:
- audio
- music
- percussion
- woodshed
size_categories:
- {size}
configs:
- config_name: default
  data_files:
  - split: train
    path: train/**
{_validation_files(bool(count["validation"]))}---

# Percussion of {owners}

Slices of percussion recordings with captions, made by Woodshed for fine-tuning Stable Audio 3.
44.1 kHz stereo, 24-bit WAV.

| split | slices | minutes | recordings |
| --- | --- | --- | --- |
{table}

## Rights

{_statements(rows, rights)}

## Files

- `train/`, `validation/`: WAV, caption (`.txt`) and `metadata.jsonl`. Whole recordings are held out, never parts.
- `manifest.jsonl`: one row per slice: recording, its PCM hash, start and end sample at 44.1 kHz, gain, captions,
  and every fact with its value, source and confidence. A slice can be rebuilt from its recording and its row.
- `recordings.jsonl`: what was found out about each recording, and why some were left out.
- `rights.jsonl`: the statements that the column `rights` of the manifest names.

Facts come, in this order, from the musician, embedded tags, file and folder names, and measurement; what is not
known is left out.
"""


def _joined(rights: list[Row], name: str) -> str:
    return ", ".join(sorted({str(each[name]) for each in rights}))


def _licence_tag(rights: list[Row]) -> str:
    tags = {_LICENCE_TAG.get(each["basis"], "other") for each in rights}
    return tags.pop() if len(tags) == 1 else "other"


def _statements(rows: list[Row], rights: list[Row]) -> str:
    """One list for each statement; where there are several, headed by how many slices it is for."""
    parts = []
    for each in rights:
        lines = [f"- {label}: {each[name]}" for name, label in _RIGHTS_LINES.items() if each.get(name)]
        count = sum(row["rights"] == each["rights"] for row in rows)
        parts.append("\n".join(([f"{count} slices:", ""] if len(rights) > 1 else []) + lines))
    return "\n\n".join(parts)


def croissant(rows: list[Row], rights: list[Row], manifest_sha256: str) -> dict[str, Any]:
    """Croissant 1.0 (mlcommons.org/croissant): the manifest as a record set, the audio as file sets."""
    splits = [place for place in SPLITS if any(row["split"] == place for row in rows)]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "woodshed-percussion",
        "description": f"{len(rows)} captioned slices of percussion recordings.",
        "url": "manifest.jsonl",
        "citeAs": f"Percussion of {_joined(rights, 'recorded_by')}, sliced by Woodshed",
        "license": ", ".join(dict.fromkeys(str(each["licence"] or each["basis"]) for each in rights)),
        "creator": {"@type": "sc:Person", "name": _joined(rights, "recorded_by")},
        "datePublished": max(str(each["date"]) for each in rights),
        "version": "1.0.0",
        "distribution": [_manifest_file(manifest_sha256), *(_audio_files(place) for place in splits)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "slices",
                "name": "slices",
                "key": {"@id": "slices/id"},
                "field": [_field(name, kind) for name, kind in _COLUMNS.items()],
            }
        ],
    }


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _validation_files(present: bool) -> str:
    return "  - split: validation\n    path: validation/**\n" if present else ""


def _manifest_file(sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": "manifest",
        "name": "manifest",
        "contentUrl": "manifest.jsonl",
        "encodingFormat": "application/jsonlines",
        "sha256": sha256,
    }


def _audio_files(place: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{place}-audio",
        "name": f"{place}-audio",
        "includes": f"{place}/*.wav",
        "encodingFormat": "audio/wav",
    }


def _field(name: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"slices/{name}",
        "name": name,
        "dataType": kind,
        "source": {"fileObject": {"@id": "manifest"}, "extract": {"column": name}},
    }


_RIGHTS_LINES = {
    "basis": "Basis", "recorded_by": "Recorded by", "date": "Stated on", "licence": "Licence", "source": "Source",
    "played_by": "Played by", "recording_owner": "Owner of the recording",
    "composition_owner": "Owner of the composition", "consent": "Consent", "restrictions": "Restrictions",
    "evidence": "Evidence", "evidence_sha256": "SHA-256 of the evidence",
}  # fmt: skip

_COLUMNS = {
    "id": "sc:Text", "split": "sc:Text", "recording": "sc:Text", "text": "sc:Text", "seconds": "sc:Float",
    "start_sample": "sc:Integer", "end_sample": "sc:Integer", "clip_sha256": "sc:Text", "rights": "sc:Text",
}  # fmt: skip

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

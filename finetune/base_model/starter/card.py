"""The starter's rights manifest and model card, made with Woodshed's own preparation of its own training sound.

    python -m finetune.base_model.starter.card WORK --kits 140 --autoencoder-kits 48

WORK is the folder of the trainings; the numbers are the kits that they were given. Some training clips go to
WORK/examples and through `data_prep.prepare` into WORK/dataset; WORK/weights gets `rights.jsonl` and `README.md`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import soundfile as sf

from data_prep.captioning.captions import join_words
from data_prep.files import read_json_lines
from data_prep.ownership.rights import Basis, Rights
from data_prep.preparation import prepare
from data_prep.settings import Settings
from data_prep.slicing.slices import Slicing
from finetune.base_model.starter.encoded import SEED
from finetune.base_model.starter.grooves import Clip, kit_clips
from finetune.base_model.starter.sitting import read_options
from finetune.base_model.starter.styles import FASTEST_BPM, GRIDS, SLOWEST_BPM
from finetune.base_model.starter.synthesis import SAMPLE_RATE
from finetune.base_model.starter.train_autoencoder import SEED as AUTOENCODER_SEED
from finetune.files import write_file

RIGHTS = Rights(
    Basis.own_recording,
    "Woodshed's own drum synthesiser",
    licence="Apache-2.0",
    source="rendered by finetune.base_model.starter from seeds; no recording of anybody's is in it",
)
SOURCES = (
    "synthesis.py", "drumheads.py", "metal.py", "small_percussion.py", "voices.py", "kits.py", "drums.py", "rooms.py",
    "styles.py", "performance.py", "grooves.py", "prompts.py",
)  # fmt: skip
"""The files that make the sound and its captions."""
EXAMPLE_KITS = (0, 1, 2)
EXAMPLES_OF_A_KIT = {"one-shot": 4, "loop": 3, "phrase": 1}

Row = dict[str, Any]


def write_card(work: Path, kits: int, autoencoder_kits: int) -> list[Row]:
    """Write the examples, their dataset, the manifest and the card; returns the manifest's rows."""
    for before in ("examples", "dataset"):
        shutil.rmtree(work / before, ignore_errors=True)
    examples = write_examples(work / "examples")
    prepare(work / "examples", work / "dataset", RIGHTS, Settings(Slicing.whole), workers=1)
    material = _material(work, kits, autoencoder_kits)
    rows = manifest(work / "dataset", examples, material)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_file(work / "weights" / "rights.jsonl", text.encode())
    write_file(work / "weights" / "README.md", model_card(rows[0], _parts(work / "weights")).encode())
    return rows


def write_examples(folder: Path) -> dict[str, tuple[int, int]]:
    """A few training clips as FLAC; the name of each, and the kit and the place in it that it was rendered from."""
    folder.mkdir(parents=True)
    written = {}
    for kit in EXAMPLE_KITS:
        wanted = dict(EXAMPLES_OF_A_KIT)
        for place, clip in enumerate(kit_clips(SEED, kit)):
            kind = str(clip.facts["kind"])
            if not wanted[kind]:
                continue
            wanted[kind] -= 1
            name = f"kit {kit}, clip {place:02d}, {_spoken(clip)}.flac"
            sf.write(folder / name, clip.audio.T, SAMPLE_RATE, subtype="PCM_24")
            written[name] = (kit, place)
            if not any(wanted.values()):
                break
    return written


def _spoken(clip: Clip) -> str:
    """What a musician would write into the file's name, for `data_prep` to read there."""
    facts: dict[str, Any] = clip.facts
    if facts["kind"] == "one-shot":
        return f"{facts['pieces'][0]} one-shot"
    pieces, metre = " ".join(facts["pieces"][:3]), facts["metre"].replace("/", "_")
    return f"{facts['kind']} of {pieces}, {facts['tempo']:g} bpm, {metre}"


def generator_sha256() -> str:
    """SHA-256 over the names and contents of the files that make the sound and its captions."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(name.encode() + b"\0")
        digest.update((files("finetune.base_model.starter") / name).read_bytes())
    return digest.hexdigest()


def _material(work: Path, kits: int, autoencoder_kits: int) -> Row:
    """What the sound was made by, and, where the training has listed its clips, how much of it there is."""
    material: Row = {
        "generator": "finetune.base_model.starter",
        "generator_sha256": generator_sha256(),
        "seed": SEED,
        "kits": kits,
        "autoencoder_seed": AUTOENCODER_SEED,
        "autoencoder_kits": autoencoder_kits,
    }
    listed = work / "fields.json"
    if listed.exists():
        seconds = [fields["seconds"] for fields in json.loads(listed.read_text())]
        material |= {"clips": len(seconds), "hours": round(sum(seconds) / 3600, 2)}
    return material


def manifest(dataset: Path, examples: dict[str, tuple[int, int]], material: Row) -> list[Row]:
    """The statement that `prepare` kept, with what it covers; then a row for each example, to render and compare."""
    (statement,) = read_json_lines(dataset / "rights.jsonl")
    rows = [statement | {"weights_licence": "Apache-2.0", "covers": material}]
    for row in read_json_lines(dataset / "manifest.jsonl"):
        kit, place = examples[row["recording"]]
        kept = {name: row[name] for name in ("rights", "recording", "pcm_sha256", "seconds", "text")}
        rows.append(kept | {"seed": SEED, "kit": kit, "clip": place})
    return rows


def _parts(weights: Path) -> list[tuple[str, str, float]]:
    """Name, class and megabytes of each part that the folder's model_index.json names."""
    index = weights / "model_index.json"
    named = json.loads(index.read_text()) if index.exists() else {}
    return [
        (name, kind[1], sum(p.stat().st_size for p in (weights / name).rglob("*") if p.is_file()) / 1e6)
        for name, kind in named.items()
        if isinstance(kind, list)
    ]


def model_card(statement: Row, parts: list[tuple[str, str, float]]) -> str:
    """README.md with the front matter that the Hugging Face Hub reads."""
    covers = statement["covers"]
    amount = f", {covers['clips']:,} clips, {covers['hours']:g} hours" if "clips" in covers else ""
    table = "\n".join(f"| `{name}` | `{kind}` | {size:.1f} |" for name, kind, size in parts)
    said = {name: statement[name] for name in ("basis", "recorded_by", "source", "date")}
    return _CARD.format(
        parts=f"\n| part | class | MB |\n| --- | --- | --- |\n{table}\n" if parts else "",
        amount=amount,
        metres=join_words(list(GRIDS)),
        slowest=SLOWEST_BPM,
        fastest=FASTEST_BPM,
        **covers,
        **said,
    )


_CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-audio
tags:
- audio
- drums
- percussion
- stable-audio-3
- synthetic-data
- woodshed
---

# Woodshed's starter base

A small Stable Audio 3 that plays drums: the same diffusers classes as the real one, at a size that a laptop trains
adapters on in minutes. It was trained from scratch on sound that Woodshed synthesises, 44.1 kHz stereo, 0.5 to 12 s.
{parts}
## Use

```sh
woodshed generate starter --prompt "snare one-shot" --seconds 1 --out snare.wav
woodshed generate starter --prompt "drum loop, 120 BPM" --seconds 4 --out loop.wav
```

Prompts may be plain (`a kick`, `hi-hat`, `swung drum loop, 96 BPM`) or captions as Woodshed writes them:

> TrackType: Instrument, Instruments: Drum Kit. loop of kick, snare and hi-hat, bright. BPM: 120. Length: 4 seconds

## Fine-tune

```sh
woodshed prep RECORDINGS mykit --basis own_recording --recorded-by NAME
woodshed train recipes/starter.yaml data.dataset=mykit
```

## What it learned from

- Sound of `{generator}`. Transformer, text encoder and duration embedder: seed {seed},
  {kits} kits{amount}. Autoencoder: seed {autoencoder_seed}, {autoencoder_kits} kits.
- SHA-256 of the generator's files, names and contents: `{generator_sha256}`.
- Acoustic kits, drum machines and hand percussion of random numbers in random rooms, as single hits, loops and
  phrases in {metres} at {slowest} to {fastest} BPM, straight and swung.
- The captions state what the synthesiser did; brightness, density, dynamics and width are measured.

## Rights

- Basis: {basis}. Made by: {recorded_by}. Stated on: {date}.
- Source: {source}.
- The same seeds render the same clips again; `rights.jsonl` lists some, with the hashes of their PCM.
- The weights are licensed under Apache-2.0, as the package is.

## Limits

It knows drums and percussion of a synthesiser's kind: no other instrument, no voice, no style by name. It is a base to
learn on, for teaching and for tests; for music, fine-tune a real base. `docs/starter.md` has its measured figures.
"""


def main() -> None:
    write_card(**vars(read_options(__doc__, kits=140, autoencoder_kits=48)))


if __name__ == "__main__":
    main()

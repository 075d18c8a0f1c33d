"""From a synthesised clip to captions in data_prep's own grammar and words, and the tokenizer for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from data_prep.captioning.captions import compose, join_words, swing_word
from data_prep.heard import descriptors
from data_prep.rhythm.onsets import Onset
from finetune.base_model.starter.geometry import TEXT_TOKENS, VOCABULARY
from finetune.base_model.starter.grooves import Clip
from finetune.base_model.starter.kits import DRUMS

KIT_PIECES = {*DRUMS, "crash cymbal", "ride cymbal", "rimshot"}
MOST_PIECES = 5  # a caption names those that are played most
FAMILIES = {
    "closed hi-hat": "hi-hat", "open hi-hat": "hi-hat", "high tom": "tom", "mid tom": "tom", "floor tom": "tom",
    "crash cymbal": "cymbal", "ride cymbal": "cymbal",
}  # fmt: skip
WORDS = {
    "kick": ("kick", "kick drum", "bass drum"), "snare": ("snare", "snare drum"), "hi-hat": ("hi-hat", "hat", "hihat"),
    "closed hi-hat": ("closed hi-hat", "closed hat"), "open hi-hat": ("open hi-hat", "open hat"),
    "tom": ("tom", "tom drum"), "floor tom": ("floor tom", "low tom"), "crash cymbal": ("crash cymbal", "crash"),
    "ride cymbal": ("ride cymbal", "ride"), "clap": ("clap", "handclap", "hand clap"),
}  # fmt: skip
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]


def caption_fields(clip: Clip) -> dict[str, Any]:
    """The fields that `data_prep.captioning.captions.compose` understands, plain JSON.

    Kind, pieces, tempo, metre, swing and seconds are the truth of the clip; brightness, density, dynamics and width
    are data_prep's words, measured by its own functions; a word that it would not say is not there.
    """
    facts: dict[str, Any] = clip.facts
    pieces = list(facts["pieces"])[:MOST_PIECES]
    fields = {
        "kind": facts["kind"],
        "pieces": pieces,
        "instruments": "Drum Kit" if KIT_PIECES & set(pieces) else "Percussion",
        "seconds": round(float(facts["seconds"]), 3),
        "room": facts["room"],
    }
    measured = descriptors.brightness(clip.audio) | descriptors.width(clip.audio)
    if facts["kind"] != "one-shot":
        measured |= descriptors.density(len(facts["hits"]) / facts["seconds"])
        measured |= descriptors.dynamics(clip.audio, [Onset(sample, 1.0, 99.0) for sample in facts["hits"]])
        fields |= {name: facts[name] for name in ("tempo", "metre", "swing") if name in facts}
    fields |= {name: fact["value"] for name, fact in measured.items() if isinstance(fact["value"], str)}
    return {name: value for name, value in fields.items() if value is not None}


def draw_caption(fields: dict[str, Any], rng: np.random.Generator) -> str:
    """A caption as a dataset would have it, or a prompt as a hurried person types it; nothing in it is untrue."""
    style = rng.random()
    if style < 0.35:
        return _plain(fields, rng)
    shown = dict(fields)
    if rng.random() < 0.25 and fields["kind"] != "one-shot":
        del shown["pieces"]
    elif rng.random() < 0.35:
        shown["pieces"] = list(dict.fromkeys(FAMILIES.get(piece, piece) for piece in fields["pieces"]))
    if swing_word(shown.get("swing", 0.5)) == "straight" and rng.random() < 0.6:
        shown.pop("swing", None)  # data_prep says when a take swings, and nothing when it does not
    return compose(shown, None, 0 if style > 0.75 else int(rng.integers(1, 2**31)))


def _plain(fields: dict[str, Any], rng: np.random.Generator) -> str:
    """`a snare drum`, `hat one-shot`, `drum loop, 120 BPM`, `swung beat of kick and hat at 96 bpm`."""
    if fields["kind"] == "one-shot":
        return _plain_hit(fields, rng)
    drums = "drum" if fields["instruments"] == "Drum Kit" else "percussion"
    nouns = {"loop": ("loop", "beat", "groove"), "phrase": ("phrase", "fill", "solo")}[fields["kind"]]
    words = [drums, str(rng.choice(nouns))]
    if drums == "drum" and rng.random() < 0.12:
        words = ["drums"]
    if rng.random() < 0.3:
        words.insert(0, _adjective(fields, rng))
    text = " ".join(word for word in words if word)
    if rng.random() < 0.4:
        broad = float(rng.random() < 0.5)
        named = [_name(piece, rng, broad) for piece in fields["pieces"][:4]]
        text += f" {rng.choice(['of', 'with'])} {join_words(list(dict.fromkeys(named)))}"
    if rng.random() < 0.75:
        text += f"{rng.choice([', ', ' at ', ' '])}{fields['tempo']:g} {rng.choice(['BPM', 'bpm'])}"
    if rng.random() < (0.15 if fields["metre"] == "4/4" else 0.5):
        text += f"{rng.choice([' in ', ', '])}{fields['metre']}"
    return text


def _plain_hit(fields: dict[str, Any], rng: np.random.Generator) -> str:
    text = _name(fields["pieces"][0], rng)
    if rng.random() < 0.25:
        text = f"{_adjective(fields, rng)} {text}".strip()
    ending = str(
        rng.choice(["", " one-shot", " hit", " sample", ", single hit"], p=[0.35, 0.3, 0.2, 0.05, 0.1])
    )
    article = ("an " if text[0] in "aeiou" else "a ") if rng.random() < 0.25 else ""
    return f"{article}{text}{ending}"


def _name(piece: str, rng: np.random.Generator, broad: float = 0.5) -> str:
    """The piece, with chance `broad` its family instead, or another word for either."""
    word = FAMILIES[piece] if piece in FAMILIES and rng.random() < broad else piece
    return str(rng.choice(WORDS[word])) if word in WORDS and rng.random() < 0.6 else word


def _adjective(fields: dict[str, Any], rng: np.random.Generator) -> str:
    known = [fields.get("brightness"), fields.get("room"), fields.get("density")]
    known.append(swing_word(fields["swing"]) if "swing" in fields else None)
    words = [word for word in known if word]
    return str(rng.choice(words)) if words else ""


def train_tokenizer(captions: Iterable[str], path: Path) -> None:
    """A byte-level BPE, so that no word is unknown: `path`/tokenizer.json and its configuration."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=TEXT_TOKENS, padding_side="right",
        pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>",
    )  # fmt: skip
    wrapped.save_pretrained(path)

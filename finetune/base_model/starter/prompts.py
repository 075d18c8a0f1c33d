"""From the facts of a synthesised clip to captions in data_prep's own grammar, and the tokenizer for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from data_prep.captions import compose
from finetune.base_model.starter.geometry import TEXT_TOKENS, VOCABULARY

KIT_PIECES = {"kick", "snare", "closed hi-hat", "open hi-hat", "high tom", "mid tom", "floor tom"}
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]


def caption_fields(facts: dict[str, Any], brightness_hz: float) -> dict[str, Any]:
    """The fields that `data_prep.captions.compose` understands."""
    pieces = list(facts["pieces"])
    fields = {
        "kind": facts["kind"],
        "pieces": pieces,
        "instruments": "Drum Kit" if KIT_PIECES & set(pieces) else "Percussion",
        "seconds": facts["seconds"],
        "brightness": "dark" if brightness_hz < 1200 else "bright" if brightness_hz > 5000 else None,
        "room": "dry" if facts["room"] < 0.03 else "roomy" if facts["room"] > 0.1 else None,
    }
    if facts["kind"] == "loop":
        density = facts["hits_per_second"]
        fields["density"] = "sparse" if density < 3.5 else "dense" if density > 7 else None
        fields |= {"tempo": facts["bpm"], "metre": facts["metre"], "swing": facts["swing"]}
    return fields


def draw_caption(fields: dict[str, Any], rng: np.random.Generator) -> str:
    """A caption as a dataset would have it, or, now and then, a prompt as a hurried person types it."""
    style = rng.random()
    if style < 0.15:
        tempo = f" {fields['tempo']} bpm" if "tempo" in fields and rng.random() < 0.7 else ""
        return " and ".join(fields["pieces"]) + f" {fields['kind']}" + tempo
    if style < 0.4:
        fields = {name: value for name, value in fields.items() if name != "pieces"}
    return compose(fields, None, 0 if style > 0.8 else int(rng.integers(1, 2**31)))


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

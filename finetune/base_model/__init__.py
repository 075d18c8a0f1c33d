"""The only place that knows diffusers, transformers and the file layout of Stable Audio 3."""

from finetune.base_model.loading import decoding, load_base
from finetune.base_model.model import BaseModel, Conditions, PromptEmbedding
from finetune.base_model.sources import base_to_train, find_base, fingerprint, is_base

__all__ = [
    "BaseModel",
    "Conditions",
    "PromptEmbedding",
    "base_to_train",
    "decoding",
    "find_base",
    "fingerprint",
    "is_base",
    "load_base",
]

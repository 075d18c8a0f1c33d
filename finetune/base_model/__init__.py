"""The only place that knows diffusers, transformers and the file layout of Stable Audio 3."""

from finetune.base_model.loading import decoding, find_base, fingerprint, load_base
from finetune.base_model.model import BaseModel, Conditions, PromptEmbedding

__all__ = ["BaseModel", "Conditions", "PromptEmbedding", "decoding", "find_base", "fingerprint", "load_base"]

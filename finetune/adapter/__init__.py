"""The only place that knows PEFT: the trainable low-rank part of a base."""

from finetune.adapter.attach import Adapter, AdapterSettings, attach
from finetune.adapter.folder import load_adapter, read_card
from finetune.adapter.formats import find_adapter
from finetune.adapter.targets import TARGETS

__all__ = ["TARGETS", "Adapter", "AdapterSettings", "attach", "find_adapter", "load_adapter", "read_card"]

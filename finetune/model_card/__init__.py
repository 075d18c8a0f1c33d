"""The model card of an export: what it is, what it was made from, under which licences, and how to use it."""

from finetune.model_card.place import card_file, check_free, named_licences, read_card
from finetune.model_card.write import Card, write_card

__all__ = ["Card", "card_file", "check_free", "named_licences", "read_card", "write_card"]

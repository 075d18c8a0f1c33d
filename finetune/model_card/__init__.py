"""The model card of an export: what it is, what it was made from, under which licences, and how to use it."""

from finetune.model_card.files import CardPlace, card_place
from finetune.model_card.write import Card, write_card

__all__ = ["Card", "CardPlace", "card_place", "write_card"]

"""Which base an adapter says it was trained on, and whether that is the one at hand."""

from __future__ import annotations

from collections.abc import Mapping

from finetune.base_model import BaseModel
from finetune.errors import WoodshedError


def check_recorded_base(facts: Mapping[str, str], base: BaseModel, name: str) -> None:
    """Raise WoodshedError when the adapter `name` records weights of a base, under `base_fingerprint`, that are not
    those of `base`.

    An adapter that records nothing passes, and so does a post-trained base, since adapters are trained on its `-base`
    and used on it; shapes are checked where it is applied.
    """
    trained_on = facts.get("base_fingerprint", base.fingerprint)
    if trained_on != base.fingerprint and not base.post_trained:
        raise WoodshedError(
            f"The adapter in '{name}' was trained on another base ('{facts.get('base')}', weights "
            f"{trained_on[:12]}…) than '{base.name}' (weights {base.fingerprint[:12]}…). Name that base with --base."
        )

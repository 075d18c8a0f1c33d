"""From manifest to adapter: what an adapter was made from, stated, signed, and proved.

For reports and model cards, which show it:

    from finetune.provenance import describe
    seen = describe(Path("runs/mykit/adapter"))     # or a run, or an exported file; WoodshedError for no adapter
    seen.rights        # {"bases": {"own_recording": {"clips", "recordings", "minutes"}}, "licences", "restrictions",
                       #  "clips_without_rights"}; None for an adapter made before or elsewhere
    seen.training_set  # {"root", "clips", "recordings", "minutes", "held_out_root", "held_out_clips", ...} or None
    seen.claims        # all that the header says: base, recipe, training_set, rights, versions ...
    seen.statement, seen.signature, seen.key_id, seen.yours, seen.words
"""

from finetune.provenance.describe import Described, describe

__all__ = ["Described", "describe"]

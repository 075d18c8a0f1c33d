"""Which recordings are held out: whole recordings, copies together, reproducibly, and as steady as can be."""

from __future__ import annotations

TRAIN, VALIDATION, LEFT_OUT = "train", "validation", "left_out"
TOO_MUCH = 1.5


def split(
    groups: list[list[str]], seconds: dict[str, float], share: float, before: dict[str, str] | None = None
) -> dict[str, str]:
    """Recording (by PCM hash) -> `train` or `validation`.

    Groups are taken in the order of their smallest hash until `share` of the seconds is held out; one that would
    overshoot by half is passed over. From two groups on at least one is held out, and never all. Where `before`
    says where a recording was, it stays there: what a run was measured on is not trained on by the next.
    """
    before = before or {}
    order = sorted(groups, key=min)
    length = {min(group): sum(seconds[name] for name in group) for group in order}
    wanted = share * sum(length.values())
    held_out = [group for group in order if _known(group, before) == VALIDATION]
    free = [group for group in order if _known(group, before) is None]
    for group in free:
        have = sum(length[min(held)] for held in held_out)
        if have < wanted and have + length[min(group)] <= TOO_MUCH * wanted:
            held_out.append(group)
    if share > 0 and not held_out and len(order) > 1:
        held_out.append(min(order, key=lambda group: (length[min(group)], min(group))))
    if len(held_out) == len(order) and held_out:
        held_out.remove(max(held_out, key=lambda group: (length[min(group)], min(group))))
    return {name: VALIDATION if group in held_out else TRAIN for group in order for name in group}


def _known(group: list[str], before: dict[str, str]) -> str | None:
    """Where a group was; one that joins both sides goes to train, for it has been trained on."""
    places = {before[name] for name in group if name in before}
    return TRAIN if TRAIN in places else VALIDATION if places else None

"""The figures of an evaluation against closed forms and planted sounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model import BaseModel
from finetune.evaluation.asked import (
    Played,
    asked_and_got,
    right_density,
    right_kit,
    right_swing,
    right_tempo,
)
from finetune.evaluation.held_out import loss_against_base
from finetune.evaluation.kept import kept_of, kept_prompts, kept_verdict
from finetune.evaluation.ladder import Heard, changes_by_block, climb
from finetune.evaluation.results import Figure, KeptAt
from finetune.evaluation.spaces import moved
from finetune.validation import make_probe

LAST = "transformer.proj_out"


def test_the_change_of_the_last_layer_is_in_proportion_to_the_strength(tiny_base: BaseModel) -> None:
    """An adapter that makes W of the last layer (1 + s) W, where nothing is added after it, changes by s."""
    weight = tiny_base.transformer.proj_out.weight.detach()
    with torch.no_grad():
        tiny_base.transformer.postprocess_conv.weight.zero_()
        if tiny_base.transformer.proj_out.bias is not None:
            tiny_base.transformer.proj_out.bias.zero_()
    half = LowRankAdapter({LAST: LowRank(weight.clone(), torch.eye(len(weight)), 0.5)})
    probes = [make_probe(torch.randn(8, 12), tiny_base.encode_prompt("kick"), 1.0, str(n)) for n in range(2)]
    heard = climb(tiny_base, half, probes, (0.0, 0.5, 1.0), lambda done, words: None)
    assert heard[0.0].relative == 0
    assert heard[0.5].relative == pytest.approx(0.25, rel=1e-5)
    assert heard[1.0].relative_by_time == pytest.approx([0.5] * 5, rel=1e-5)
    assert changes_by_block(tiny_base, half, probes) == [0.0, 0.0]  # it acts after the blocks
    assert tiny_base.transformer.proj_out.weight.equal(weight)


def test_losses_are_paired_clip_by_clip() -> None:
    """Clips differ by tenfold, and each is 10 % better: a paired interval is narrow, an unpaired one could not be."""
    levels = np.linspace(0.2, 2.0, 10)[:, None] * np.ones((1, 5))
    base, adapted = (Heard(levels * share, levels, levels) for share in (1.0, 0.9))
    change = loss_against_base(base, adapted, [f"take {n}" for n in range(10)]).change
    assert (change.value, change.low, change.high) == pytest.approx((-0.1, -0.1, -0.1))


def test_recordings_are_drawn_where_there_are_enough_and_one_clip_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    of_take = np.repeat(rng.normal(0, 0.1, 6), 8)[:, None]
    base = Heard(np.ones((48, 5)), np.ones((48, 5)), np.ones((48, 5)))
    adapted = Heard(0.9 + of_take * np.ones((1, 5)), base.changed, base.base)
    takes = [f"take {n // 8}" for n in range(48)]
    by_take, by_clip = (loss_against_base(base, adapted, of).change for of in (takes, [*map(str, range(48))]))
    assert _width(by_take) > 1.8 * _width(by_clip)  # the clips of a take are no independent draws
    one = Heard(np.ones((1, 5)), np.ones((1, 5)), np.ones((1, 5)))
    assert loss_against_base(one, one, ["a"]).change == Figure(0.0)


def _width(change: Figure) -> float:
    assert change.low is not None and change.high is not None
    return change.high - change.low


def test_what_moves_to_the_player_is_lost_and_what_stays_is_kept() -> None:
    rng = np.random.default_rng(1)

    def sounds(centre: float) -> list[np.ndarray]:
        return [rng.normal(centre, 1.0, (4, 6)) for _ in range(16)]

    found = moved(sounds(0), sounds(0), [sounds(0), sounds(0), sounds(3)], sounds(3))
    assert found.above_floor[2].low is not None and found.above_floor[2].low > 0
    assert found.played[2] == pytest.approx(found.player, rel=0.2)
    assert kept_of(found, found, [0, 0.1, 0.2]).verdict == "lost"
    again = moved(sounds(0), sounds(0), [sounds(0), sounds(0), sounds(0)], sounds(3))
    assert kept_of(again, again, [0, 0.1, 0.2]).verdict == "kept"
    alone = moved(sounds(0), sounds(0), [sounds(0), sounds(0), sounds(3)], sounds(3)[:1])
    assert alone.player is None and kept_of(alone, alone, [0, 0.1, 0.2]).verdict == "changed"
    assert kept_verdict(KeptAt(1.0, 0.3, 0.1, None, Figure(0.3, 0.1, 0.5)), 1.0) == "changed"
    assert kept_verdict(KeptAt(1.0, 0.9, 0.1, None, Figure(0.9, -0.1, 1.5)), 1.0) == "kept"


def test_prompts_outside_the_set_are_there_for_every_base() -> None:
    for base in ("starter", "small-music-base", "/a/folder"):
        kept = kept_prompts(base)
        assert len(kept.prompts) == len(set(kept.prompts)) == 8 and kept.seconds > 0
    assert "piano" in kept_prompts("medium-base").prompts[0] and "kick" in kept_prompts("starter").prompts[0]


def test_what_was_asked_is_judged() -> None:
    played = Played(bpm=48.5, swing=0.62, hits_per_second=5.0, pieces=frozenset({"kick", "snare", "hi-hat"}))
    assert right_tempo({"tempo": 96}, played) and not right_tempo({"tempo": 120}, played)
    assert right_tempo({}, played) is None
    assert right_swing({"tempo": 96, "swing": 0.65}, played) and not right_swing(
        {"tempo": 96, "swing": 0.5}, played
    )
    assert right_density({"hits_per_second": 4.2}, played) and not right_density(
        {"hits_per_second": 8}, played
    )
    assert right_kit({"pieces": ["kick", "snare"]}, played) and not right_kit({"pieces": ["conga"]}, played)


def test_tempo_and_density_of_clicks_are_heard() -> None:
    """Clicks at 120 BPM, eighths, beside silence."""
    clicks = np.zeros((2, 4 * 44_100), np.float32)
    for start in range(0, clicks.shape[1], 11_025):
        burst = np.random.default_rng(start).standard_normal((2, 2000)) * np.exp(-np.arange(2000) / 200)
        clicks[:, start : start + 2000] += 0.3 * burst[:, : clicks.shape[1] - start].astype(np.float32)
    facts = {"tempo": 120.0, "hits_per_second": 4.0}
    found = {each.what: each for each in asked_and_got([facts], [np.zeros_like(clicks)], [clicks])}
    assert set(found) == {"tempo", "density"}
    assert (found["tempo"].base, found["tempo"].adapted) == (0.0, 1.0)
    assert (found["density"].base, found["density"].adapted) == (0.0, 1.0)

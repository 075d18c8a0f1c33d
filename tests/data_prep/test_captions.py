"""The caption grammar: canonical form, variants, and nothing invented."""

import re

from hypothesis import given
from hypothesis import strategies as st

from data_prep.captioning.captions import compose, variants

BREAK = {
    "instruments": "Drum Kit",
    "genre": "Breakbeat",
    "kind": "loop",
    "pieces": ["kick", "snare", "hi-hat"],
    "swing": 0.6,
    "brightness": "bright",
    "room": "dry",
    "density": "dense",
    "tempo": 92.0,
    "metre": "4/4",
    "seconds": 10.43,
}

facts = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["loop", "one-shot", "phrase", "take"]),
        "pieces": st.lists(st.sampled_from(["kick", "snare", "tom"]), unique=True),
        "swing": st.floats(0.4, 0.75),
        "brightness": st.sampled_from(["dark", "warm", "bright"]),
        "density": st.sampled_from(["sparse", "dense"]),
        "tempo": st.floats(30, 300),
        "metre": st.sampled_from(["4/4", "7/8"]),
        "seconds": st.floats(0.05, 300),
    },
)


def test_the_canonical_caption_says_every_fact_in_the_fixed_order():
    assert compose(BREAK, "mykit") == (
        "TrackType: Instrument, Instruments: Drum Kit, Genre: Breakbeat. "
        "mykit swung loop of kick, snare and hi-hat, bright, dry and dense. "
        "BPM: 92. Metre: 4/4. Length: 10 seconds"
    )


def test_an_unknown_recording_gets_no_adjective_and_no_number():
    assert compose({}) == "TrackType: Instrument, Instruments: Percussion. recording"


def test_swing_is_named_only_where_the_ear_commits_itself():
    assert "swung" in compose({"swing": 0.55})
    assert "straight" in compose({"swing": 0.5})
    assert compose({"swing": 0.53}) == compose({})


def test_short_lengths_keep_a_decimal_and_one_second_is_singular():
    assert compose({"seconds": 0.43}).endswith("Length: 0.4 seconds")
    assert compose({"seconds": 1.0}).endswith("Length: 1 second")


def test_the_trigger_is_on_a_share_of_the_variants_only():
    captions = [compose(BREAK, "mykit", variant) for variant in range(1, 201)]
    assert 0.7 < sum("mykit" in caption for caption in captions) / 200 < 0.9


@given(facts, st.integers(0, 10_000))
def test_no_caption_says_what_the_facts_do_not_say(fields, variant):
    caption = compose(fields, "mykit", variant)
    known = set(re.findall(r"[a-z0-9/]+(?:[.-][a-z0-9]+)*", compose(fields, "mykit").lower()))
    assert set(re.findall(r"[a-z0-9/]+(?:[.-][a-z0-9]+)*", caption.lower())) <= known | {"and"}
    assert caption == compose(fields, "mykit", variant)


@given(facts)
def test_variants_start_with_the_canonical_one_and_differ(fields):
    captions = variants(fields, "mykit", 5)
    assert captions[0] == compose(fields, "mykit")
    assert len(set(captions)) == len(captions) <= 5
    assert all(caption.strip() for caption in captions)

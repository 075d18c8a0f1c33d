"""From names of adapters, bases and files to sound files that say how they were made."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from finetune.adapter import AdapterSettings, attach, read_card
from finetune.adapter.folder import save_adapter
from finetune.adapter_option import AdapterOption, read_option
from finetune.audio_files import read_about
from finetune.base_model import load_base
from finetune.errors import WoodshedError
from finetune.hear import base_of, hear
from finetune.recipe import Recipe
from finetune.tags import said_in
from finetune.trainer import train
from finetune.wanted import Wanted, read_source


@pytest.fixture(scope="module")
def adapters(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A LoRA, a DoRA with its duration embedder, and a LoRA that learned from excerpts; weights are random."""
    root = tmp_path_factory.mktemp("adapters")
    kinds: dict[str, dict[str, Any]] = {
        "lora": {},
        "dora": {"kind": "dora", "duration_embedder": True},
        "excerpts": {"targets": "attention"},
    }
    for seed, (name, settings) in enumerate(kinds.items()):
        base = load_base(str(tiny_base_folder))
        adapter = attach(base, AdapterSettings(rank=2, **settings))
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        card = {"base": "tiny", "base_fingerprint": base.fingerprint}
        save_adapter(adapter, root / name, card | ({"excerpt_seconds": 60.0} if name == "excerpts" else {}))
    return {name: root / name for name in kinds}


@pytest.fixture
def wanted(tiny_base_folder: Path, tmp_path: Path) -> Wanted:
    return Wanted(tmp_path / "x.wav", "kick snare", str(tiny_base_folder), seeds=(4,), seconds=0.3, steps=2)


def sound(wanted: Wanted, **changes: Any) -> np.ndarray:
    changed = replace(wanted, **changes)
    hear(changed)
    return sf.read(changed.out, dtype="int32")[0]


def test_a_run_knows_its_base_and_its_adapter_shares_no_path(
    recipe: Recipe, tiny_base_folder: Path, wanted: Wanted, tmp_path: Path
) -> None:
    run = train(recipe)
    assert base_of(run.adapter) == base_of(run.run) == str(tiny_base_folder)
    card = read_card(run.adapter)
    assert card["base"] == tiny_base_folder.name
    assert str(tmp_path) not in str(card)
    alone = tmp_path / "elsewhere" / "adapter"
    shutil.copytree(run.adapter, alone)
    with pytest.raises(WoodshedError, match="name its folder with --base"):
        base_of(alone)
    base, adapters = read_source(str(run.run), None, None)
    assert (base, adapters) == (None, (AdapterOption(run.run),))
    of_run = sound(wanted, base=None, adapters=adapters)
    assert np.array_equal(of_run, sound(wanted, adapters=(AdapterOption(alone),)))
    assert not np.array_equal(of_run, sound(wanted))


def test_strength_zero_is_the_base_and_each_of_two_adapters_counts(
    adapters: dict[str, Path], wanted: Wanted
) -> None:
    lora, dora = AdapterOption(adapters["lora"], 0.8), AdapterOption(adapters["dora"], 0.5)
    base, both = sound(wanted), sound(wanted, adapters=(lora, dora))
    for path in adapters.values():
        assert np.array_equal(sound(wanted, adapters=(AdapterOption(path, 0.0),)), base)
    assert np.array_equal(
        sound(wanted, adapters=(lora, replace(dora, strength=0.0))), sound(wanted, adapters=(lora,))
    )
    others = [
        base,
        sound(wanted, adapters=(lora,)),
        sound(wanted, adapters=(dora,)),
        sound(wanted, adapters=(lora, replace(dora, noise=(0.0, 0.9)))),
        sound(wanted, adapters=(lora, replace(dora, layers="ff"))),
    ]
    assert not any(np.array_equal(both, other) for other in others)


def test_adapters_of_excerpts_say_the_length_of_the_piece(adapters: dict[str, Path], wanted: Wanted) -> None:
    excerpts, whole = AdapterOption(adapters["excerpts"]), AdapterOption(adapters["lora"])

    def told(*options: AdapterOption, **changes: Any) -> float | None:
        return hear(replace(wanted, adapters=options, **changes))["seconds_total"]

    assert told(excerpts) == 60.0
    assert told(replace(excerpts, strength=0.0)) is None
    assert told(whole, excerpts) is None, "the first counts"
    assert told(replace(whole, strength=0.0), excerpts) == 60.0
    assert told(excerpts, piece=90.0) == 90.0


def test_files_say_everything_that_makes_them_again_and_no_path(
    adapters: dict[str, Path], wanted: Wanted, tmp_path: Path
) -> None:
    sf.write(tmp_path / "take.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (9000, 2)), 44100)
    options = (
        AdapterOption(adapters["lora"], 0.8, (0.0, 0.6), "0,attention"),
        AdapterOption(adapters["dora"]),
    )
    asked = replace(
        wanted, adapters=options, out=tmp_path / "a.flac", negative_prompt="hat", guidance=3.0, sampler="dpmpp",
        init=tmp_path / "take.wav", noise=0.8, keep=("0-.1",), seeds=(2**40,),
    )  # fmt: skip
    done = hear(asked)
    about = read_about(asked.out)
    assert str(tmp_path.parent) not in str(about)
    assert str(adapters["lora"].parent) not in str(about)
    said = {"negative_prompt": "hat", "guidance": 3.0, "sampler": "dpmpp", "seed": 2**40, "noise": 0.8}
    assert about | said | {"prompt": "kick snare", "steps": 2} == about
    assert [(a["name"], a["strength"], a["noise"], a["layers"]) for a in about["adapters"]] == [
        ("lora", 0.8, [0.0, 0.6], "0,attention"),
        ("dora", 1.0, [0.0, 1.0], ""),
    ]
    assert (about["base"], about["base_sha256"]) == ("tiny", done["base_sha256"])
    again = Wanted(
        tmp_path / "b.flac",
        base=asked.base,
        adapters=tuple(AdapterOption(option.path) for option in options[::-1]),
        init=asked.init,
        like=about,
        **said_in(about),
    )
    assert hear(again)["differs"] == []
    assert np.array_equal(sf.read(again.out)[0], sf.read(asked.out)[0])
    other = hear(replace(again, adapters=again.adapters[1:]))
    assert other["differs"] == ["adapters"]
    assert other["adapters"][0]["strength"] == 0.8


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": 3},
        {"keep": "0-4", "init_sha256": ""},
        {"adapters": [{"strength": "1"}]},
        {"adapters": None},
    ],
)
def test_tags_that_were_changed_are_a_sentence(change: dict[str, Any], wanted: Wanted) -> None:
    hear(wanted)
    with pytest.raises(WoodshedError, match="tags of the file of --like were changed"):
        said_in(read_about(wanted.out) | change)


def test_several_seeds_are_several_files_in_any_batch(wanted: Wanted, tmp_path: Path) -> None:
    alone = sound(wanted, seeds=(7,))
    done = hear(replace(wanted, seeds=(6, 7, 8), batch=2))
    assert [(Path(f["file"]).name, f["seed"]) for f in done["files"]] == [
        ("x-6.wav", 6),
        ("x-7.wav", 7),
        ("x-8.wav", 8),
    ]
    assert np.abs(sf.read(tmp_path / "x-7.wav", dtype="int32")[0] - alone).max() < 2**31 * 1e-4
    assert read_about(tmp_path / "x-8.wav")["seed"] == 8
    peak = np.abs(sf.read(tmp_path / "x-6.wav")[0]).max()
    assert done["files"][0]["peak_db"] == pytest.approx(20 * math.log10(peak), abs=0.06)


def test_kept_samples_are_untouched_and_without_splice_they_pass_the_autoencoder(
    wanted: Wanted, tmp_path: Path
) -> None:
    take = np.random.default_rng(1).integers(-(2**22), 2**22, (9000, 2), dtype=np.int32) << 8
    sf.write(tmp_path / "take.wav", take, 44100, subtype="PCM_24")
    asked = replace(wanted, init=tmp_path / "take.wav", keep=("0.1-",))
    spliced, echoed = sound(asked), sound(asked, splice=False)
    fade = 441
    assert len(spliced) == round(0.3 * 44100)
    assert np.array_equal(spliced[4410 : 9000 - fade], take[4410 : 9000 - fade])
    assert np.array_equal(spliced[: 4410 - fade], echoed[: 4410 - fade])
    assert np.array_equal(spliced[9000:], echoed[9000:])
    assert not np.array_equal(echoed[4410 : 9000 - fade], take[4410 : 9000 - fade])


def test_a_sound_begun_from_another_is_as_long_unless_said(wanted: Wanted, tmp_path: Path) -> None:
    sf.write(tmp_path / "mono.flac", np.random.default_rng(1).uniform(-0.5, 0.5, 4800), 24000)
    begun = replace(wanted, init=tmp_path / "mono.flac", seconds=None)
    done = hear(begun)
    assert (done["seconds"], done["noise"]) == (0.2, 0.4)
    assert sf.info(wanted.out).frames == 8820
    assert len(sound(begun, seconds=0.3)) == 13230
    assert hear(replace(begun, keep=("0-.1",)))["noise"] == 1.0


def test_post_trained_bases_are_sampled_in_eight_steps_without_guidance(
    tiny_base_folder: Path, adapters: dict[str, Path], wanted: Wanted, tmp_path: Path
) -> None:
    folder = tmp_path / "post"
    shutil.copytree(tiny_base_folder, folder)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text('{"stochastic_sampling": true}')
    asked = replace(wanted, base=str(folder), steps=None)
    done = hear(replace(asked, adapters=(AdapterOption(adapters["lora"]),)))
    assert (done["steps"], done["guidance"], done["sampler"]) == (8, 1.0, "pingpong")
    assert not np.array_equal(sf.read(wanted.out)[0], sf.read(hear(asked)["out"])[0]), (
        "a -base's adapter works there"
    )
    with pytest.raises(WoodshedError, match="--guidance 1 is none"):
        hear(replace(asked, negative_prompt="hat"))


def test_adapters_of_other_weights_are_refused(
    tiny_base_folder: Path, adapters: dict[str, Path], wanted: Wanted, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_base_folder, other)
    (other / "note.json").write_text("{}")
    with pytest.raises(WoodshedError, match=r"trained on another base \('tiny'"):
        hear(replace(wanted, base=str(other), adapters=(AdapterOption(adapters["lora"]),)))
    assert not wanted.out.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"out": "x.mp3"}, "must end in"),
        ({"out": "."}, "is a folder"),
        ({"out": "take.wav/x.wav"}, "cannot be written"),
        ({"out": "x.flac", "bits": 32}, "FLAC holds"),
        ({"seeds": (1, 1)}, "asked for twice"),
        ({"seeds": (1, -1)}, "--seed -1"),
        ({"batch": 0}, "--batch 0"),
        ({"noise": 0.5}, "name its file with --init"),
        ({"keep": ("0-1",)}, "name its file with --init"),
        ({"init": "take.wav", "noise": 0.0}, "--noise 0 is out of range"),
        ({"init": "take.wav", "noise": math.nan}, "--noise nan is out of range"),
        ({"init": "take.wav", "keep": ("0-4",)}, "goes beyond the end of"),
        ({"init": "nowhere.wav"}, "There is no file"),
        ({"init": "take.wav", "out": "take.wav"}, "would be overwritten"),
        ({"init": "take.wav", "out": "./take.wav"}, "would be overwritten"),
        ({"init": "take-1.wav", "out": "take.wav", "seeds": (1, 2)}, "would be overwritten"),
        ({"adapters": ("nowhere:0.5",)}, "There is no adapter 'nowhere'"),
    ],
)
def test_what_cannot_be_is_said_before_the_base_is_loaded(
    changes: dict[str, Any],
    words: str,
    wanted: Wanted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("take.wav", "take-1.wav"):
        sf.write(name, np.zeros((9000, 2)), 44100)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    paths = {key: Path(value) for key, value in changes.items() if key in ("out", "init")}
    options = {"adapters": tuple(map(read_option, changes["adapters"]))} if "adapters" in changes else {}
    with pytest.raises(WoodshedError, match=words):
        hear(replace(wanted, base="no such base", **(changes | paths | options)))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_first_argument_is_a_base_or_an_adapter(tiny_base_folder: Path, tmp_path: Path) -> None:
    assert read_source("starter", None, None) == ("starter", ())
    assert read_source(str(tiny_base_folder), None, None) == (str(tiny_base_folder), ())
    assert read_source("kit:0.5", None, "starter") == ("starter", (AdapterOption(Path("kit"), 0.5),))
    assert read_source("kit", 0.7, None) == (None, (AdapterOption(Path("kit"), 0.7),))
    for source, strength, base, words in (
        ("starter", None, "other", "is itself a base"),
        ("starter", 0.5, None, "--adapter PATH:0.5"),
        ("kit:0.5", 0.7, None, "leave --strength 0.7 out"),
        ("kit", math.nan, None, "out of range"),
    ):
        with pytest.raises(WoodshedError, match=words):
            read_source(source, strength, base)

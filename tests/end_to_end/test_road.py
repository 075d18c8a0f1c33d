"""The whole road through the installed command: recordings, dataset, run, a stop and a resume, sound."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from finetune.base_model.starter.library import write_library

RECIPE = Path(__file__).parents[2] / "recipes" / "starter.yaml"
WOODSHED = Path(sys.executable).with_name("woodshed")


def woodshed(*arguments: object, code: int = 0) -> dict:
    """Run the command with --json; its one object, after checking the exit code."""
    done = subprocess.run(
        [WOODSHED, *map(str, arguments), "--json"], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == code, done.stderr[-3000:]
    return json.loads(done.stdout) if done.stdout else {}


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthesised drummer's takes, prepared and trained on for a few steps."""
    root = tmp_path_factory.mktemp("road with spaces, ü and 🥁")
    write_library(root / "takes", takes=3)
    rights = ("--basis", "own_recording", "--recorded-by", "The tests")
    report = woodshed("prep", root / "takes", root / "dataset", "--slice", "bars", "--bars", 2, *rights)
    assert report["ok"]
    return root


def settings(root: Path, name: str, **changes: object) -> list[str]:
    keys = {
        "name": name, "data.dataset": root / "dataset", "output.root": root / "runs", "training.steps": 6,
        "training.batch_size": 2, "training.checkpoint_every": 2, "validation.every": 3, "validation.clips": 3,
        "samples.seconds": 0.5, "samples.steps": 2, "data.crop_seconds": 2, "optimizer.warmup_steps": 1,
    } | {key.replace("__", "."): value for key, value in changes.items()}  # fmt: skip
    return [f"{key}={value}" for key, value in keys.items()]


@pytest.fixture(scope="module")
def run(road: Path) -> Path:
    result = woodshed("train", RECIPE, *settings(road, "first"))
    assert result["status"] == "finished"
    return Path(result["run"])


def test_slices_are_whole_bars_of_the_tempo_in_the_file_name(road: Path) -> None:
    rows = [json.loads(line) for line in (road / "dataset" / "manifest.jsonl").read_text().splitlines()]
    used = [row for row in rows if row["split"] in ("train", "validation")]
    assert {row["split"] for row in used} == {"train", "validation"}
    for row in used:
        bpm = int(row["recording"].split(", ")[1].split()[0])
        assert row["end_sample"] - row["start_sample"] == round(2 * 4 * 60 / bpm * 44100)


def test_a_run_has_everything_in_its_folder(run: Path) -> None:
    for name in (
        "recipe.yaml",
        "log.jsonl",
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
    ):
        assert (run / name).is_file(), name
    assert {p.name for p in (run / "samples").iterdir()} >= {"step-000000", "step-000006"}
    assert list((run / "samples" / "step-000000").glob("*.wav"))
    assert (run / "checkpoints" / "step-000006").is_dir()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log if "held_out_loss" in row] == [0, 3, 6]


def test_strength_zero_is_the_base_and_one_is_not(run: Path, road: Path) -> None:
    asked = ("--prompt", "kick and snare loop", "--seconds", 1, "--seed", 3, "--steps", 4)
    sounds = {}
    for name, source, extra in (
        ("base", "starter", ()),
        ("zero", run, ("--strength", 0)),
        ("one", run, ()),
        ("again", run / "adapter", ()),
    ):
        out = road / f"{name}.wav"
        assert woodshed("generate", source, *asked, *extra, "--out", out)["out"] == str(out)
        sounds[name] = sf.read(out)[0]
    assert len(sounds["base"]) == 44100
    assert np.array_equal(sounds["zero"], sounds["base"])
    assert np.array_equal(sounds["one"], sounds["again"])
    assert not np.array_equal(sounds["one"], sounds["base"])


def test_ctrl_c_leaves_a_checkpoint_that_resume_goes_on_from(road: Path, run: Path) -> None:
    changes = settings(road, "stopped")
    train = subprocess.Popen(
        [WOODSHED, "train", RECIPE, *changes, "training.steps=400"], stderr=subprocess.PIPE
    )
    log = road / "runs" / "stopped" / "log.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (log.exists() and '"step": 2' in log.read_text()):
        time.sleep(0.1)
    os.kill(train.pid, signal.SIGINT)
    _, words = train.communicate(timeout=200)
    assert train.returncode == 130
    assert "woodshed resume" in words.decode()
    stopped = road / "runs" / "stopped"
    reached = max(int(p.name.removeprefix("step-")) for p in (stopped / "checkpoints").iterdir())
    assert 2 <= reached < 400
    result = woodshed("resume", stopped, f"training.steps={reached + 2}")
    assert (result["status"], result["step"]) == ("finished", reached + 2)


def test_wrong_requests_are_one_sentence_and_an_exit_code(road: Path, run: Path) -> None:
    def refuse(*arguments: object, code: int, words: str) -> None:
        done = subprocess.run(
            [WOODSHED, *map(str, arguments)], capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == code, done.stderr
        assert words in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr

    refuse("train", RECIPE, *settings(road, "x"), "training.stepz=3", code=1, words="training.steps")
    refuse("train", RECIPE, *settings(road, "first"), code=1, words="woodshed resume")
    refuse("generate", road, "-p", "kick", "-o", road / "x.wav", code=1, words="neither a run")
    refuse("generate", "starter", "-p", "", "-o", road / "x.wav", code=1, words="prompt is empty")
    refuse("generate", "starter", "-p", "kick", code=2, words="--out")
    refuse("prep", road / "takes", road / "other", code=2, words="Rights come first")
    refuse("resume", road / "nowhere", code=1, words="nowhere")

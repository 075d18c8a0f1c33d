"""Weights & Biases: the real client, against a server on the loopback interface that speaks its protocol."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile as sf
from child import start
from conftest import make_recipe
from loopback_wandb import ENTITY, KEY, Server, StoredArtifact, loopback_wandb
from test_resume import assert_same_weights, without_times

from finetune.checkpoint import checkpoint_folders, step_of
from finetune.errors import WoodshedError
from finetune.recipe import Recipe
from finetune.run_folder import write_recipe
from finetune.tracking import read_log, tracking, wandb_run
from finetune.tracking.wandb_client import wandb
from finetune.tracking.wandb_fetch import fetch_run
from finetune.trainer import resume, train

USER = "hildegard"
STEPS = "training__steps"
ENDLESS = {STEPS: 10_000, "training__checkpoint_every": 10_000, "validation__every": 30}


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp(USER)
    wandb.teardown()  # what it knows of another server
    with loopback_wandb() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("WANDB_BASE_URL", server.url)
        environment.setenv("WANDB_API_KEY", KEY)
        environment.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "1")
        for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            environment.setenv(name, str(home))
        for name in ("USER", "LOGNAME"):
            environment.setenv(name, USER)
        yield server
        wandb.teardown()


@pytest.fixture
def server(one_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(wandb_run, "INIT_SECONDS", 2.0)
    monkeypatch.setattr(wandb_run, "FINISH_SECONDS", 1.5)
    one_server.forget()
    return one_server


@pytest.fixture
def online(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> Recipe:
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    return make_recipe(tiny_base_folder, dataset, tmp_path / "runs", tracking__wandb="online")


def session(recipe: Recipe, after: int, steps: list[int]) -> Path:
    run = Path(recipe.output.root) / recipe.name
    with tracking(run, recipe, after) as log:
        for step in steps:
            log({"step": step, "loss": step / 10})
            if step % 3 == 0:
                log({"step": step, "held_out_loss": 0.5, "held_out_loss_bands": {"0.1": 0.25}})
    return run


@contextlib.contextmanager
def training(recipe: Recipe, words: Path) -> Iterator[int]:
    """A process that trains, by its number; it is killed at the end of the block."""
    wandb.teardown()  # no thread of the client is there to be forked
    child = start(lambda: train(recipe), words)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def names(artifact: StoredArtifact) -> list[str]:
    return sorted(artifact.files)


def test_a_run_is_one_across_a_kill_and_a_resume_and_goes_on_elsewhere_bit_for_bit(
    server: Server, tiny_base_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_run, "FINISH_SECONDS", 30.0)
    recipe = make_recipe(
        tiny_base_folder, dataset, tmp_path / "here", **ENDLESS, tracking__wandb="online",
        tracking__upload_checkpoints=True, tracking__upload_adapter=True,
    )  # fmt: skip
    run = tmp_path / "here" / "tiny"
    with training(recipe, tmp_path / "words.txt") as process:
        server.wait_until(lambda: len(read_log(run)) > 4)
        os.kill(process, signal.SIGUSR1)
        server.wait_until(lambda: len(checkpoint_folders(run)) == 1)
        saved = step_of(checkpoint_folders(run)[0])
        server.wait_until(lambda: server.run().steps()[-1:] > [saved])  # it has what will be done again
    ahead = server.run().steps()
    assert ahead == list(range(len(ahead))) and not (run / "adapter").exists()
    first_end, end = len(ahead) + 2, len(ahead) + 6
    unbroken = train(
        make_recipe(tiny_base_folder, dataset, tmp_path / "unbroken", **ENDLESS | {STEPS: end})
    ).run

    assert resume(run, [f"training.steps={first_end}"]).status == "finished"
    assert server.run().steps() == list(range(first_end + 1))
    assert server.run().overwritten == 0 and server.run().exit_codes == [0]

    elsewhere = tmp_path / "elsewhere"
    copied = shutil.copytree(dataset, elsewhere / "kit")
    dataset.rename(tmp_path / "away")
    wandb.teardown()  # the other machine's client is another process
    address = f"wandb:{ENTITY}/woodshed/{server.run().name}"
    there = fetch_run(
        address, elsewhere / "runs", [f"data.dataset={copied}", f"base.model={tiny_base_folder}"]
    )
    assert there == elsewhere / "runs" / "tiny"
    assert without_times(there) == without_times(run)
    assert resume(there, [f"training.steps={end}"]).status == "finished"

    assert server.run().steps() == list(range(end + 1)) and server.run().overwritten == 0
    for file in ("adapter/adapter_model.safetensors", f"checkpoints/step-{end:06}/optimizer.safetensors"):
        assert_same_weights(unbroken / file, there / file)
    trained = [[row for row in without_times(each) if "loss" in row] for each in (there, unbroken)]
    assert trained[0] == trained[1]
    assert server.run().settings()["training.steps"] == end
    rows = server.run().rows()
    assert {"loss", "learning_rate", "gradient_norm", "steps_per_second", "peak_memory_bytes"} <= set(rows[1])
    assert {"held_out_loss", "held_out_loss_bands/0.1"} <= set(rows[0])
    check_lineage(server, there)
    check_nothing_private(server, [tmp_path, Path.cwd()])
    check_no_secret(tmp_path)
    assert not server.unknown


def check_lineage(server: Server, run: Path) -> None:
    """Dataset in, checkpoints and adapter out, all of one run."""
    (dataset,) = server.of_type("dataset")
    assert server.run().used == [dataset.id] and names(dataset) == ["clips.jsonl"]
    adapter = server.of_type("adapter")[-1]
    assert {adapter.id, *(each.id for each in server.of_type("checkpoint"))} <= set(server.run().logged)
    held = server.contents(adapter)
    assert held["adapter_model.safetensors"] == (run / "adapter/adapter_model.safetensors").read_bytes()
    card = json.loads(held["card.json"])
    assert card["dataset_sha256"] == json.loads(dataset.metadata or "")["dataset_sha256"]
    last = server.of_type("checkpoint")[-1]
    assert last.aliases == ["latest", checkpoint_folders(run)[0].name]


def check_nothing_private(server: Server, folders: list[Path]) -> None:
    sent = server.everything()
    assert b"RIFF" not in sent and b"take 1.wav" not in sent
    for folder in folders:
        assert str(folder).encode() not in sent
    assert not re.search(rb'["\s:=](/|[A-Z]:\\)(home|root|tmp|var|Users|work)\b', sent), "an absolute path"
    words = b"\n".join(re.findall(rb"[\x20-\x7e\s]{20,}", sent))  # weights hold any two letters
    for name in (USER, socket.gethostname(), os.uname().nodename):
        assert not re.search(rb"\b" + re.escape(name.encode()) + rb"\b", words), name


def check_no_secret(folder: Path) -> None:
    for file in folder.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def test_what_is_sent_when_the_recipe_names_nothing(server: Server, online: Recipe, dataset: Path) -> None:
    (dataset / "README.md").write_text("# Percussion of Nell", encoding="utf-8")
    write_sample(Path(online.output.root) / online.name, 3)
    session(online, 0, [0, 1, 2, 3, 4])
    assert [artifact.type for artifact in server.artifacts] == ["dataset"]
    held = server.contents(server.artifacts[0])
    assert held.keys() == {"README.md", "clips.jsonl"}
    rows = [json.loads(line) for line in held["clips.jsonl"].splitlines()]
    assert len(rows) == 7 and {*rows[0]} == {"split", "seconds", "clip_sha256"}
    assert {file.partition("/")[0] for file in server.run().files} <= {"config.yaml", "wandb-summary.json"}
    assert b"RIFF" not in server.everything() and b"PNG" not in server.everything()


def test_samples_and_spectrograms_are_sent_when_the_recipe_names_them(
    server: Server, tiny_base_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_run, "FINISH_SECONDS", 30.0)  # drawing is slow to load
    recipe = make_recipe(
        tiny_base_folder, dataset, tmp_path / "runs", tracking__wandb="online", tracking__upload_audio=True
    )
    sound = write_sample(tmp_path / "runs" / "tiny", 3)
    session(recipe, 0, [0, 1, 2, 3, 4])
    row = next(row for row in server.run().rows() if row["_step"] == 3)
    assert row["samples/01"]["caption"] == "kick snare (seed 0)"
    files = {name: server.stored[key] for name, key in server.run().files.items()}
    assert files[row["samples/01"]["path"]] == sound.read_bytes()
    assert files[row["spectrograms/01"]["path"]].startswith(b"\x89PNG")
    assert sum(content.startswith(b"RIFF") for content in files.values()) == 1


def write_sample(run: Path, step: int) -> Path:
    folder = run / "samples" / f"step-{step:06}"
    folder.mkdir(parents=True)
    sf.write(folder / "01.wav", [[0.1, -0.1]] * 22050, 44100, subtype="PCM_24")
    asked = [{"file": "01.wav", "prompt": "kick snare", "seed": 0}]
    (folder / "prompts.json").write_text(json.dumps(asked), encoding="utf-8")
    return folder / "01.wav"


@pytest.mark.parametrize("trouble", [401, 500, "drop", "hang"])
def test_a_lost_connection_stops_nothing_and_the_next_start_sends_the_rest(
    server: Server, online: Recipe, capsys: pytest.CaptureFixture[str], trouble: int | str
) -> None:
    run = Path(online.output.root) / online.name
    with tracking(run, online, 0) as log:
        log({"step": 0, "loss": 1.0})
        log({"step": 1, "loss": 0.9})
        server.wait_until(lambda: server.run().steps() == [0])
        server.trouble = lambda path: trouble
        began = time.monotonic()
        for step in range(2, 9):
            log({"step": step, "loss": 1 / step})
        assert time.monotonic() - began < 0.5, "training waited for the server"
    assert [row["step"] for row in read_log(run)] == list(range(9))
    assert server.run().steps() == [0]
    assert trouble == 401 or f"`woodshed resume {run}` sends what is missing" in capsys.readouterr().err
    server.trouble = lambda path: None
    session(online, 8, [9])
    assert server.run().steps() == list(range(10)) and server.run().overwritten == 0


def test_an_unreachable_server_at_the_start_is_one_sentence(server: Server, online: Recipe) -> None:
    server.trouble = lambda path: "drop"
    with pytest.raises(WoodshedError, match=r"cannot be used now \([^\n]*tracking.wandb=offline") as error:
        session(online, 0, [0])
    assert "\n" not in str(error.value)


def test_offline_sends_nothing_and_a_later_resume_online_sends_everything(
    server: Server, tiny_base_folder: Path, dataset: Path, tmp_path: Path, online: Recipe
) -> None:
    offline = make_recipe(tiny_base_folder, dataset, tmp_path / "runs", tracking__wandb="offline")
    session(offline, 0, [0, 1, 2])
    run = session(offline, 2, [3])
    name = (run / "wandb_id.txt").read_text()
    (kept,) = run.glob("wandb/offline-run-*/run-*.wandb")
    server.wait_until(lambda: b"held_out_loss" in kept.read_bytes())
    assert kept.name == f"run-{name}.wandb" and str(tmp_path).encode() not in kept.read_bytes()
    assert not server.received
    session(online, 3, [4])
    assert server.run().name == name and server.run().steps() == [0, 1, 2, 3, 4]


def test_what_cannot_be_fetched_is_a_sentence(
    server: Server, online: Recipe, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(WoodshedError, match="wandb:ENTITY/PROJECT/RUN"):
        fetch_run("wandb:nell/woodshed", None, [])
    with pytest.raises(WoodshedError, match=r"tracking\.upload_checkpoints=true"):
        fetch_run(f"wandb:{ENTITY}/woodshed/nothing", tmp_path / "there", [])
    log_checkpoint("wild", {"checkpoints/inside.json": b"{}"})
    rename(server, "checkpoints/inside.json", "checkpoints/../../../escaped.json")
    with pytest.raises(WoodshedError, match="which is no part of a run"):
        fetch_run(f"wandb:{ENTITY}/woodshed/wild", tmp_path / "there", [])
    write_recipe(tmp_path / "written", online)
    text = (tmp_path / "written" / "recipe.yaml").read_text()
    log_checkpoint("tame", {"recipe.yaml": text.replace(str(dataset), "kit").encode()})
    with pytest.raises(WoodshedError, match=r"no folder 'kit'.*\n.*data.dataset, base.model=…"):
        fetch_run(f"wandb:{ENTITY}/woodshed/tame", tmp_path / "there", [])
    assert not (tmp_path / "there").exists()
    fetched = fetch_run(f"wandb:{ENTITY}/woodshed/tame", tmp_path / "there", [f"data.dataset={dataset}"])
    assert (fetched / "wandb_id.txt").read_text() == "tame"
    with pytest.raises(WoodshedError, match="There is a run in"):
        fetch_run(f"wandb:{ENTITY}/woodshed/tame", tmp_path / "there", [f"data.dataset={dataset}"])


def rename(server: Server, before: str, after: str) -> None:
    """Give a file of the last artifact another name, as the client would not."""
    artifact = server.artifacts[-1]
    artifact.files[after] = artifact.files.pop(before)
    manifest = server.stored[artifact.manifest]
    server.stored[artifact.manifest] = manifest.replace(before.encode(), after.encode())


def log_checkpoint(name: str, contents: dict[str, bytes]) -> None:
    from finetune.tracking.wandb_client import artifact_of, clear_staging

    with wandb.init(project="woodshed", id=name, mode="online", settings=wandb_run._settings()) as client_run:
        client_run.log_artifact(artifact_of(f"checkpoint-{name}", "checkpoint", {}, contents)).wait()
    clear_staging()

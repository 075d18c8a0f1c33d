"""A run at Weights & Biases that is one and the same across all resumes, and that training never waits for.

log.jsonl is the truth. A step is sent whole, under its own number, once the next step has begun; at every start what
the server has not got yet is sent from log.jsonl, and what it has already is not sent again. So whatever was lost, to
a kill or to a broken line, is made good by the next resume, and no step is there twice. (The client drops rows whose
step is not above the last one that the server has; after a kill those are the steps done again since the last
checkpoint, and they are the same.)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from finetune.checkpoint import checkpoint_folders
from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.memory import peak_bytes
from finetune.progress import say
from finetune.recipe import Recipe, values
from finetune.run_folder import read_parent
from finetune.tracking.background import Background
from finetune.tracking.log import Row
from finetune.tracking.uploads import (
    adapter_artifact,
    checkpoint_artifact,
    dataset_artifact,
    samples,
    without_folders,
)
from finetune.tracking.wandb_client import abandon, clear_staging, in_staging, wandb

INIT_SECONDS = 30.0
FINISH_SECONDS = 300.0  # how long the end of a run waits for artifacts, and again for rows and samples
FAILED_SECONDS = 3.0  # the same when it was broken off
CLIENT_SECONDS = 5.0  # what the client needs itself, after it has given up
SILENT_SECONDS = 5.0  # longer waits are told
WANDB_ID = "wandb_id.txt"


@contextlib.contextmanager
def wandb_run(run: Path, recipe: Recipe, kept: list[Row]) -> Iterator[Callable[[Row], None]]:
    """Yields `send(row)`. `kept` are the rows of the log so far; those that the server lacks are sent first."""
    sender = _Sender(run, recipe, _begin(run, recipe))
    sender.catch_up(kept)
    ended_well = False
    try:
        yield sender.add
        ended_well = True
    finally:
        sender.finish(ended_well)


def _begin(run: Path, recipe: Recipe) -> Any:
    """The client's run. Raises WoodshedError when the server cannot be reached or refuses."""
    online = recipe.tracking.wandb == "online"
    shutil.rmtree(
        run / "wandb", ignore_errors=True
    )  # of an earlier start; what it did not send, this one does
    config, parent = values(without_folders(recipe)), read_parent(run)
    try:
        with in_staging():
            return wandb.init(
                entity=recipe.tracking.entity,
                project=recipe.tracking.project,
                name=recipe.name,
                id=_wandb_id(run),
                resume="allow" if online else None,
                mode="online" if online else "offline",
                reinit="create_new",
                force=online,  # never asks to go on offline
                dir=run.absolute(),
                config=config | ({"parent": asdict(parent)} if parent else {}),
                settings=_settings(),
            )
    except (wandb.errors.Error, TimeoutError) as error:
        said = " ".join(str(error).split())
        raise WoodshedError(
            f"Weights & Biases cannot be used now ({said}). Run `wandb login` and go on by `woodshed resume {run}`, "
            f"or go on without it: woodshed resume {run} tracking.wandb=offline. A later resume with "
            "tracking.wandb=online sends everything."
        ) from error


def _settings() -> Any:
    """Nothing of this machine is sent: no code, console, packages, host, user or hardware."""
    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
        init_timeout=INIT_SECONDS,
        label_disable=True,
        quiet=True,
        show_info=False,
        show_warnings=False,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


def _wandb_id(run: Path) -> str:
    """The id that this run has at Weights & Biases, made up once, or by the agent of a sweep there."""
    file = run / WANDB_ID
    if not file.exists():
        given = os.environ["WANDB_RUN_ID"] if "WANDB_SWEEP_ID" in os.environ else uuid.uuid4().hex[:12]
        write_file(file, given.encode())
    return file.read_text(encoding="utf-8")


class _Sender:
    """Gives rows, and what belongs to their step, to the client; what takes long is done beside the training."""

    def __init__(self, run: Path, recipe: Recipe, client_run: Any) -> None:
        self._run, self._recipe, self._client_run = run, recipe, client_run
        self._device = torch.device("cuda" if _on_gpu(recipe) else "cpu")
        self._online = recipe.tracking.wandb == "online"
        self._step_row: Row = {}
        self._live = self._troubled = False
        self._rows = Background("wandb rows", self._trouble)
        self._artifacts = Background("wandb artifacts", self._trouble)
        if self._online:
            self._artifacts.later(self._use_dataset)
        if self._online and recipe.tracking.upload_checkpoints:
            address = f"wandb:{client_run.entity}/{client_run.project}/{client_run.id}"
            say(f"On another machine this run goes on by: woodshed resume {address}")

    def add(self, row: Row) -> None:
        """A row of the log; its step is sent once a row of another one comes."""
        if self._step_row and row["step"] != self._step_row["step"]:
            self._send_step()
        self._step_row |= row

    def catch_up(self, kept: list[Row]) -> None:
        """Send what the server lacks of earlier sessions, and the newest checkpoint."""
        for row in kept:
            self.add(row)
        if self._step_row:
            self._send_step()
        for folder in checkpoint_folders(self._run)[:1]:
            self._later_checkpoint(folder)
        self._live = True

    def _send_step(self) -> None:
        row, self._step_row = self._step_row, {}
        step = row["step"]
        if step < self._client_run.starting_step:
            return
        numbers = _numbers(row)
        folder = self._run / "checkpoints" / f"step-{step:06}"
        if self._live:
            numbers["peak_memory_bytes"] = peak_bytes(self._device)
            self._later_checkpoint(folder)
        self._rows.later(
            lambda: self._client_run.log({**numbers, **self._samples(step)}, step=step, commit=True)
        )

    def _samples(self, step: int) -> dict[str, Any]:
        return samples(self._run, step) if self._recipe.tracking.upload_audio else {}

    def _use_dataset(self) -> None:
        try:
            self._client_run.use_artifact(dataset_artifact(self._recipe))
        finally:
            clear_staging()

    def _later_checkpoint(self, folder: Path) -> None:
        if self._online and self._recipe.tracking.upload_checkpoints and folder.is_dir():
            self._artifacts.later(lambda: self._log_checkpoint(folder))

    def _log_checkpoint(self, folder: Path) -> None:
        """Log a checkpoint unless it, or the best adapter, has been replaced meanwhile by a newer one."""
        if not folder.is_dir():
            return
        try:
            artifact = checkpoint_artifact(self._run, self._recipe, self._client_run.id, folder)
        except FileNotFoundError:
            return
        self._log_artifact(artifact, ["latest", folder.name])

    def _log_adapter(self) -> None:
        if (self._run / "adapter").is_dir():
            self._log_artifact(adapter_artifact(self._run, self._recipe), ["latest"])

    def _log_artifact(self, artifact: wandb.Artifact, aliases: list[str]) -> None:
        try:
            self._client_run.log_artifact(artifact, aliases=aliases).wait()
        finally:
            clear_staging()

    def _trouble(self, error: Exception) -> None:
        """Whatever goes wrong there is said once and changes nothing here."""
        if not self._troubled:
            self._troubled = True
            said = " ".join(str(error).split()).removesuffix(".")
            say(
                f"Weights & Biases: {said}. Nothing is lost: `woodshed resume {self._run}` sends what is missing there."
            )

    def finish(self, ended_well: bool) -> None:
        """End the session. What cannot be sent in time is sent by the next one."""
        seconds = FINISH_SECONDS if ended_well else FAILED_SECONDS
        if ended_well and self._step_row:
            self._send_step()
        if ended_well and self._online:
            self._artifacts.later(self._log_adapter)
        try:
            sent = self._wait(self._artifacts, seconds)
            self._rows.later(lambda: self._client_run.finish(exit_code=0 if ended_well else 1))
            if not (self._wait(self._rows, seconds + CLIENT_SECONDS) and sent):
                self._trouble(TimeoutError(f"not everything could be sent in {seconds:g} s"))
        except KeyboardInterrupt:
            self._trouble(TimeoutError("stopped before everything was sent"))
            abandon()
            raise

    def _wait(self, work: Background, seconds: float) -> bool:
        if work.finished(min(seconds, SILENT_SECONDS)):
            return True
        say(
            f"Sending to Weights & Biases, for {seconds:g} s at most; Ctrl-C leaves the rest to `woodshed resume`."
        )
        return work.finished(max(seconds - SILENT_SECONDS, 0.0))


def _on_gpu(recipe: Recipe) -> bool:
    return recipe.training.device != "cpu" and torch.cuda.is_available()


def _numbers(row: Row) -> Row:
    """What can be drawn: numbers, those of a group as `group/name`."""
    numbers: Row = {}
    for name, value in row.items():
        if isinstance(value, dict):
            numbers |= {f"{name}/{part}": number for part, number in _numbers(value).items()}
        elif name != "step" and isinstance(value, (int, float)):
            numbers[name] = value
    return numbers

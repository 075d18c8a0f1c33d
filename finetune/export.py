"""An adapter for another program: written beside, read back, put on a fresh base, compared, and only then in place."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from finetune.adapter import load_adapter
from finetune.adapter.blend import AdapterUse, Blend, check_fit
from finetune.adapter.formats import DTYPES, locate, merged, read_adapter, write_adapter
from finetune.adapter.formats.metadata import header_of
from finetune.adapter.formats.stability import IMPLEMENTATION
from finetune.adapter.low_rank import LowRankAdapter
from finetune.adapter.probe import probe
from finetune.adapter.recorded_base import check_recorded_base
from finetune.base_model import BaseModel, find_base, load_base
from finetune.errors import WoodshedError
from finetune.files import PART, remove_folder
from finetune.licences import title_of
from finetune.provenance.derived import derived_facts
from finetune.provenance.place import IN_FOLDER
from finetune.provenance.statement import write_statement

Program = Literal["peft", "diffusers", "stable-audio-3", "comfyui", "merged"]
PROGRAMS: tuple[Program, ...] = ("peft", "diffusers", "stable-audio-3", "comfyui", "merged")
DEFAULT_DTYPE = {"peft": "fp32", "diffusers": "fp32", "stable-audio-3": "fp16", "comfyui": "fp16"}
TOLERANCES = {"fp32": 1e-4, "fp16": 1e-3, "bf16": 8e-3}
"""Largest error of a prediction, relative to what the adapter changes of it."""
MERGED_TOLERANCES = {"fp32": 1e-4, "fp16": 0.25, "bf16": 0.25}
"""Weights of 16 bits round a change away that is small beside them; that is told, and beyond this refused."""
WORTH_TELLING = 0.01
ROUNDING = 3e-6
"""Error of float32 arithmetic itself, relative to the prediction: it counts where an adapter hardly changes a thing."""


@dataclass(frozen=True)
class Exported:
    """`error` is relative to the adapter's effect: on predictions where `compared` says so, else on its matrices.
    `statement` is the file that states what it was made from; None where that is not known.

    `effect` is what the adapter changes of a prediction, relative to it; None where there was no base to predict.
    """

    out: str
    program: Program
    dtype: str
    kind: str
    modules: int
    base: str | None
    compared: Literal["predictions", "matrices"]
    effect: float | None
    error: float
    notes: list[str] = field(default_factory=list)
    statement: str | None = None


def export(
    source: Path,
    program: Program,
    out: Path,
    dtype: str | None = None,
    base: str | None = None,
    trigger: str | None = None,
) -> Exported:
    """Write the adapter of `source` (a run, a folder or a file of any format) for `program` to `out`.

    `base` is the name of the base to compare on; without one the matrices alone are compared, which is not possible for
    what takes the base's weights to write. Raises WoodshedError, and leaves nothing behind, when something does not
    fit or comes out different.
    """
    _check_place(out, program)
    if base is None:
        return _without_base(source, program, out, dtype, trigger)
    plain, reference = _reference(source, base)
    fresh = _load(base)
    adapter, told = _described(read_adapter(source, fresh), source, program, trigger, fresh)
    with _put_in_place(out) as beside:
        if program == "merged":
            stored = _stored_dtype(find_base(base), dtype)
            header = {"modelspec.title": adapter.facts["title"]}
            header |= {k: v for k, v in header_of(adapter, IMPLEMENTATION).items() if k == "woodshed"}
            merged.write(adapter, find_base(base), beside, DTYPES[dtype] if dtype else None, header)
            del fresh
            predicted, notes, allowed = probe(_load(str(beside))), [], MERGED_TOLERANCES[stored]
        else:
            stored = dtype or DEFAULT_DTYPE[program]
            notes = write_adapter(adapter, program, beside, DTYPES[stored], fresh)
            with Blend(fresh, [AdapterUse(read_adapter(beside, fresh), source.name)]):
                predicted = probe(fresh)
            allowed = TOLERANCES[stored]
        effect = _size(reference - plain)
        error = _size(predicted - reference) / effect if effect else _size(predicted - reference)
        _check_error(error, allowed + ROUNDING * _size(plain) / max(effect, 1e-12), program, stored)
        _state(beside, within=True)
    if program == "merged" and error > WORTH_TELLING:
        notes.append(
            f"The base's weights are {stored}, which rounds {error:.1%} of the adapter away; --dtype fp32 keeps it."
        )
    relative = effect / _size(plain)
    return _done(adapter, out, program, stored, base, "predictions", relative, error, [*told, *notes])


def _without_base(
    source: Path, program: Program, out: Path, dtype: str | None, trigger: str | None
) -> Exported:
    if program == "merged":
        raise WoodshedError(
            f"'{source}' does not say where its base lies here; name the base to merge into with --base."
        )
    adapter, told = _described(read_adapter(source), source, program, trigger, None)
    stored = dtype or DEFAULT_DTYPE[program]
    with _put_in_place(out) as beside:
        notes = write_adapter(adapter, program, beside, DTYPES[stored])
        error = _matrix_error(adapter, read_adapter(beside))
        _check_error(error, TOLERANCES[stored], program, stored)
        _state(beside, within=True)
    return _done(adapter, out, program, stored, None, "matrices", None, error, [*told, *notes])


def _reference(source: Path, base: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions of the base alone and with the adapter; one in PEFT's form is put on by PEFT itself."""
    model = _load(base)
    plain = probe(model)
    format, place = locate(source)
    if format == "peft":
        load_adapter(model, place)
        return plain, probe(model)
    adapter = read_adapter(source, model)
    check_recorded_base(adapter.facts, model, str(source))
    check_fit(model, adapter, source.name)
    with Blend(model, [AdapterUse(adapter, source.name)]):
        return plain, probe(model)


def _load(base: str) -> BaseModel:
    """The base in float32, without its encoders."""
    model = load_base(base, torch.float32, "cuda" if torch.cuda.is_available() else "cpu")
    model.release_encoders()
    return model


def _described(
    adapter: LowRankAdapter, source: Path, program: Program, trigger: str | None, base: BaseModel | None
) -> tuple[LowRankAdapter, list[str]]:
    """With a title, the trigger word, the name of the licence beside the base's weights, and what it is written from;
    and what there is to tell of that."""
    facts = {"title": source.resolve().stem} | adapter.facts
    if trigger:
        facts["trigger"] = trigger
    if base is not None and base.licence is not None:
        facts["licence"] = title_of(base.licence)
    facts, told = derived_facts(source, facts, program)
    return replace(adapter, facts=facts), told


def _state(path: Path, within: bool) -> str | None:
    """State where the adapter in `path` comes from: in a folder while it is written, of a file once it has its name."""
    if path.is_dir() != within:
        return None
    stated = write_statement(path)
    return str(stated) if stated else None


def _stored_dtype(root: Path, dtype: str | None) -> str:
    """The number format of the weights that are merged: `dtype`, or the base's own."""
    if dtype is not None:
        return dtype
    own = merged.stored_dtype(root)
    return next((name for name, kind in DTYPES.items() if kind == own), "fp32")


def _matrix_error(one: LowRankAdapter, other: LowRankAdapter) -> float:
    """Largest relative difference of what a module adds, or of its magnitudes."""
    errors = [float("inf")] if one.modules.keys() != other.modules.keys() else [0.0]
    for module, part in one.modules.items():
        back = other.modules.get(module, part)
        pairs = [(part.scale * part.up @ part.down, back.scale * back.up @ back.down)]
        pairs += [
            (own, its)
            for own, its in (
                (part.row_magnitude, back.row_magnitude),
                (part.column_magnitude, back.column_magnitude),
            )
            if own is not None and its is not None
        ]
        errors += [_size(own - its) / max(_size(own), 1e-12) for own, its in pairs]
        if part.kind != back.kind:
            errors.append(float("inf"))
    return max(errors)


def _check_error(error: float, allowed: float, program: Program, dtype: str) -> None:
    if not error <= allowed:
        raise WoodshedError(
            f"What was written for {program} in {dtype} does not do what the adapter does: the error is {error:.1e} of "
            f"its effect, and {allowed:.1e} at most is allowed. Nothing was kept. Write wider numbers: --dtype fp32."
        )


def _check_place(out: Path, program: Program) -> None:
    is_folder = program in ("peft", "merged")
    if not is_folder and out.suffix != ".safetensors":
        raise WoodshedError(f"'{out}' must end in .safetensors: {program} reads one file.")
    if is_folder and out.suffix == ".safetensors":
        raise WoodshedError(f"'{out}' must be the name of a folder: {program} is several files.")
    if out.exists():
        raise WoodshedError(
            f"There is something in '{out}' already. Remove it, or name another place with --out."
        )


@contextlib.contextmanager
def _put_in_place(out: Path) -> Iterator[Path]:
    """A name beside `out` to write to, which becomes `out` when the block ends well, and nothing when not."""
    beside = out.with_name(f".{out.stem}{PART}{uuid.uuid4().hex[:8]}{out.suffix}")
    had_place = out.parent.exists()
    try:
        yield beside
        beside.rename(out)
    finally:
        if beside.is_dir():
            remove_folder(beside)
        beside.unlink(missing_ok=True)
        if not had_place:
            with contextlib.suppress(OSError):
                out.parent.rmdir()  # only where nothing came into it


def _size(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))


def _done(
    adapter: LowRankAdapter,
    out: Path,
    program: Program,
    dtype: str,
    base: str | None,
    compared: Literal["predictions", "matrices"],
    effect: float | None,
    error: float,
    notes: list[str],
) -> Exported:
    inside = out / IN_FOLDER
    return Exported(
        out=str(out),
        program=program,
        dtype=dtype,
        kind=adapter.kinds,
        modules=len(adapter.modules),
        base=base,
        compared=compared,
        effect=effect,
        error=error,
        notes=notes,
        statement=str(inside) if inside.is_file() else _state(out, within=False),
    )

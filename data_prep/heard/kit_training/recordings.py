"""The ear on recordings with truth: single hits named by their files, and takes with every hit listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from data_prep.heard.kit_pieces import PIECES, SURE_IN_MUSIC, Ear
from data_prep.heard.kit_training.sources import KIT_PIECES, Hit, sound_of_name
from data_prep.rhythm.onsets import detect

LETTERS = {
    "K": "kick", "S": "snare", "G": "snare", "H": "hat", "O": "hat", "P": "hat", "T": "tom", "M": "tom", "L": "tom",
    "X": "cymbal", "W": "hand percussion",
}  # fmt: skip
"""What the truth of the takes calls the pieces of the kit; all that the tabla plays is hand percussion."""
SLICE_SECONDS = 10.0


def on_recordings(folder: Path, judges: dict[str, Ear], trained_on: list[Hit]) -> dict[str, Any]:
    """What an ear makes of `folder`/one_shots and /takes that heard none of the kits any of them are from."""
    ear, found = _judged(folder, judges, trained_on)
    takes = {path.stem: _take(ear, path) for path in sorted((folder / "takes").glob("*.flac"))}
    return found | {"takes": takes}


def on_one_shots(folder: Path, judges: dict[str, Ear], trained_on: list[Hit]) -> dict[str, Any]:
    """The same of `folder`/one_shots alone."""
    return _judged(folder, judges, trained_on)[1]


def _judged(folder: Path, judges: dict[str, Ear], trained_on: list[Hit]) -> tuple[Ear, dict[str, Any]]:
    shots = {path.stem: _read(path) for path in sorted((folder / "one_shots").glob("*.flac"))}
    known = {hit.samples.tobytes(): hit.kit for hit in trained_on}
    left_out = sorted({known[each.tobytes()] for each in shots.values() if each.tobytes() in known})
    if len(left_out) > 1:
        raise ValueError(f"The one-shots are from several kits that were trained on: {', '.join(left_out)}.")
    ear = judges[left_out[0]] if left_out else next(iter(judges.values()))
    return ear, {"left_out": left_out, "one_shots": _one_shots(ear, shots)}


def _read(path: Path) -> np.ndarray:
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(np.broadcast_to(samples.T[:2], (2, len(samples))))


def _one_shots(ear: Ear, shots: dict[str, np.ndarray]) -> dict[str, Any]:
    right = claimed = claims_right = files = 0
    wrong = {}
    for name, samples in shots.items():
        piece = KIT_PIECES[sound_of_name(name) or "side stick"]
        if not piece:
            continue
        shares, sure_of = ear.lone_hit(samples)
        heard = max(shares, key=lambda each: shares[each])
        files += 1
        right += heard == piece
        claimed += heard in sure_of
        claims_right += heard in sure_of and heard == piece
        if heard != piece:
            wrong[name] = f"{heard} {shares[heard]:.2f}"
    return {"files": files, "right": right, "claimed": claimed, "claims_right": claims_right, "wrong": wrong}


def _take(ear: Ear, path: Path) -> dict[str, Any]:
    """Claims about slices of ten seconds, cut as they come, beside what the truth says is played in them."""
    truth = json.loads(path.with_suffix(".json").read_text("utf-8"))["onsets"]
    samples = _read(path)
    starts = np.array([onset.sample for onset in detect(samples)[0]])
    times = np.array([time for time, _ in truth])
    pieces = np.array([_piece(letter, path.stem) for _, letter in truth])
    size = round(SLICE_SECONDS * 44_100)
    claims, played = [], []
    for first in range(0, samples.shape[1] - size // 2, size):
        inside = starts[(starts >= first) & (starts < first + size)] - first
        shares = ear.clip(ear.hits(samples[:, first : first + size], inside))
        there = set(pieces[(times * 44_100 >= first) & (times * 44_100 < first + size)])
        claims.append(shares >= SURE_IN_MUSIC)
        played.append([piece in there for piece in PIECES])
    said, true = np.array(claims), np.array(played)
    names = np.array(PIECES)
    return {
        "slices": len(said),
        "claims": int(said.sum()),
        "claims_right": int((said & true).sum()),
        "pieces_played": int(true.sum()),
        "wrong": sorted(set(names[np.nonzero(said & ~true)[1]].tolist())),
        "missed": sorted(set(names[np.nonzero(true & ~said)[1]].tolist())),
    }


def _piece(letter: str, take: str) -> str:
    return "hand percussion" if take.startswith("tabla") else LETTERS[letter]

"""Train the ear for kit pieces and say how good it is: python -m data_prep.heard.kit_training FOLDER [--json] [--write]

FOLDER is where the sounds that kits.py lists lie: Debian packages, unpacked all into one, and repositories of GitHub,
each as FOLDER/github/OWNER/NAME at the commit named there:

    apt-get download sonic-pi-samples hydrogen-drumkits hydrogen-data fluid-soundfont-gm freepats lmms-common
    apt-get download csound-soundfont
    for package in *.deb; do dpkg-deb -x $package FOLDER; done
    git clone https://github.com/OWNER/NAME FOLDER/github/OWNER/NAME

kit_pieces.json has the SHA-256 of every file that was trained on.

The ear for music learns from five of the kits (PLAY_GROOVES). --alone trains the ear for lone hits and leaves that one,
and its figures, as they are in the package; it takes a few minutes.

With --write the weights go into the package, and beside them kit_pieces.json: every sound that was trained on, with its
licence and hash, and the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from data_prep.files import write_bytes, write_json
from data_prep.heard.kit_features import FEATURES_VERSION
from data_prep.heard.kit_pieces import ABOUT, PIECES, WEIGHTS, Ear, Network, pieces_of
from data_prep.heard.kit_training.figures import judges_of, lone_figures, lone_heard, on_kits_not_heard
from data_prep.heard.kit_training.fitting import VARIATIONS, Lone, describe, fit_alone, fit_ear
from data_prep.heard.kit_training.kits import KITS
from data_prep.heard.kit_training.recordings import on_one_shots, on_recordings
from data_prep.heard.kit_training.sources import KIT_PIECES, Hit, hits_of

SILENT = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.heard.kit_training", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="where the packages were unpacked")
    parser.add_argument("--recordings", type=Path, help="folder with one_shots/ and takes/ to test on too")
    parser.add_argument(
        "--alone",
        action="store_true",
        help="only the ear for lone hits; that for music stays, with its figures",
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    parser.add_argument("--write", action="store_true", help="write weights and sources into the package")
    options = parser.parse_args()
    hits = read_hits(options.folder)
    if not hits:
        sys.exit(
            f"None of the kits is below {options.folder}; see python -m data_prep.heard.kit_training --help."
        )
    package = Path(__file__).parents[1]
    if options.alone:
        figures, ear = train_alone(hits, options.recordings, package)
    else:
        figures, ear = train(hits, options.recordings)
    if options.write:
        write(package, ear, hits, figures)
    print(json.dumps(figures, indent=1) if options.json else in_words(figures))


def read_hits(folder: Path) -> list[Hit]:
    return [
        hit for kit in KITS for hit in hits_of(kit, folder) if np.abs(hit.samples).max(initial=0) > SILENT
    ]


def train(hits: list[Hit], recordings: Path | None) -> tuple[dict[str, Any], Ear]:
    """The ear trained on all kits whose licence allows it, and what it and its like make of kits not heard."""
    training, testing = by_right(hits)
    trained, tested = describe(training, VARIATIONS), describe(testing, 0)
    ear = fit_ear(training, trained)
    judges = judges_of(ear, training, trained)
    figures = on_kits_not_heard(
        lambda kit: judges.get(kit, ear), [*training, *testing], both(trained, tested)
    )
    if recordings:
        figures["recordings"] = on_recordings(recordings, judges, training)
    return figures, ear


def train_alone(hits: list[Hit], recordings: Path | None, package: Path) -> tuple[dict[str, Any], Ear]:
    """The ear in the package with another network for lone hits."""
    training, testing = by_right(hits)
    trained, tested = describe(training, VARIATIONS), describe(testing, 0)
    alone, temperature, left_out = fit_alone(trained)
    weights = load((package / WEIGHTS).read_bytes())
    in_music = Network(*(weights[f"in_music.{name}"] for name in Network.__dataclass_fields__))
    is_piece = pieces_of(list(KIT_PIECES.values()))
    ear = Ear(alone, is_piece, in_music, temperature, weights["slope"], weights["offset"])
    judges = {kit: replace(ear, alone=network) for kit, network in left_out.items()}
    figures = dict(json.loads((package / ABOUT).read_text("utf-8"))["leave_one_kit_out"])
    heard = lone_heard(lambda kit: judges.get(kit, ear), [*training, *testing], both(trained, tested))
    figures["hits"] = lone_figures(*heard)
    if recordings:
        figures["recordings"] = figures["recordings"] | on_one_shots(recordings, judges, training)
    return figures, ear


def by_right(hits: list[Hit]) -> tuple[list[Hit], list[Hit]]:
    """Those that may be trained on, and the rest."""
    trains = {kit.name for kit in KITS if kit.trains}
    return [hit for hit in hits if hit.kit in trains], [hit for hit in hits if hit.kit not in trains]


def both(first: Lone, second: Lone) -> Lone:
    return Lone(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in vars(first)))


def write(package: Path, ear: Ear, hits: list[Hit], figures: dict[str, Any]) -> None:
    """Weights (safetensors) and what they were made from (JSON)."""
    weights = {
        f"{which}.{name}": array
        for which, network in (("alone", ear.alone), ("in_music", ear.in_music))
        for name, array in vars(network).items()
    } | {"slope": ear.slope, "offset": ear.offset}
    write_bytes(
        package / WEIGHTS,
        save({name: np.ascontiguousarray(each, np.float32) for name, each in weights.items()}),
    )
    write_json(
        package / ABOUT,
        {
            "made_by": "python -m data_prep.heard.kit_training FOLDER --write",
            "features_version": FEATURES_VERSION,
            "pieces": list(PIECES),
            "sounds": KIT_PIECES,
            "temperature": ear.temperature,
            "kits": [
                {
                    "name": kit.name,
                    "package": kit.package,
                    "folder": kit.folder,
                    "licence": kit.licence,
                    "trained_on": kit.trains,
                    "files": _files(kit.name, hits) if kit.trains else {},
                }
                for kit in KITS
            ],
            "leave_one_kit_out": figures,
        },
    )


def _files(kit: str, hits: list[Hit]) -> dict[str, Any]:
    """SHA-256 of a file -> what of it was trained on: name and sound."""
    found: dict[str, Any] = {}
    for hit in hits:
        if hit.kit == kit:
            found.setdefault(hit.sha256, {})[hit.name] = hit.sound
    return found


def in_words(figures: dict[str, Any]) -> str:
    """Tables for a terminal."""
    hits, grooves = figures["hits"], figures["grooves"]
    lines = [f"{hits['files']} single hits, each of a kit that was not trained on:"]
    lines.append(f"{'':18}files  accuracy  claimed  claims right")
    rows = [("all", hits), ("of Debian", hits["debian"]), *hits["pieces"].items(), *hits["kits"].items()]
    for name, each in rows:
        shares = [each["accuracy"], each["claimed"], each["claims_right"]]
        lines.append(f"{name:18}{each['files']:5}" + "".join(f"{_percent(share):>10}" for share in shares))
    lines += ["", "called:" + " " * 11 + " ".join(f"{piece:>8.8}" for piece in PIECES)]
    for name, each in hits["pieces"].items():
        lines.append(f"{name:18}" + " ".join(f"{each['called'].get(piece, 0):8}" for piece in PIECES))
    lines += ["", "confidence and how often it is right:"]
    lines += [
        f"{each['from']:.1f}-{each['to']:.1f} {each['files']:5} {_percent(each['right'])}"
        for each in hits["reliability"]
    ]
    lines += ["", f"{grooves['clips']} grooves on kits not trained on:", f"{'':18}precision  recall"]
    for name, each in [("all", grooves), *grooves["pieces"].items(), *grooves["kits"].items()]:
        lines.append(f"{name:18}{_percent(each['precision']):>9}{_percent(each['recall']):>8}")
    if said := figures.get("recordings"):
        lines += ["", f"recordings, by an ear that heard none of {', '.join(said['left_out'])}:"]
        shots, takes = said["one_shots"], said["takes"]
        lines.append(
            f"one-shots: {shots['right']} of {shots['files']} right if it must choose; of {shots['claimed']} claims "
            f"{shots['claims_right']} right; wrong: {shots['wrong'] or 'none'}"
        )
        lines += [f"{name}: {each}" for name, each in takes.items()]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


if __name__ == "__main__":
    main()

"""The verbs of provenance: keys, verify, prove-inclusion, withdraw. Everything heavy is imported where it is used."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from finetune.command_line import AsJson, report, words

if TYPE_CHECKING:
    from finetune.provenance.inclusion import Shown
    from finetune.provenance.results import Check, Verified
    from finetune.provenance.withdraw import Withdrawal

Trust = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Whose signature it must be: a public key file, or a fingerprint. Unsaid: yours."
    ),
]
Dataset = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The dataset folder: its manifest, rights and slices are compared."),
]
MARKS = {"proved": "green", "failed": "bold red", "incomplete": "yellow", "not asked": "dim"}


@dataclass(frozen=True)
class Key:
    """The user's key: its file, fingerprint and public half, and the statements that were signed with it now."""

    file: str
    key_id: str
    public_key: str
    made: bool
    signed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AllVerified:
    """Every adapter that was meant, and the exit code of all."""

    exit_code: int
    adapters: list[Verified]


@dataclass(frozen=True)
class Proof:
    file: str
    clip: str


def keys(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the public key here, to give to others.")
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="FILE_OR_RUN", help="Sign what was made before there was a key."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the key that your adapters are signed with, or show it.

    It is an Ed25519 key in your configuration folder (WOODSHED_CONFIG, else ~/.config/woodshed), readable by you
    alone. From then on every run and every export is signed. Keep a copy of the file: without it nothing new can be
    signed as yours. Give others the public key or its fingerprint, by a way on which they know you: with it they see
    by `woodshed verify --trust` that an adapter is yours.

    Example: woodshed keys --out mykey.pem
    """
    from finetune.files import write_file
    from finetune.provenance.keys import key_file, key_id, make_key, public_pem, read_key
    from finetune.provenance.signing import sign_unsigned

    known = read_key()
    public = (known or make_key()).public_key()
    if out is not None:
        write_file(out, public_pem(public))
    signed = [str(path) for path in sign_unsigned(sign)] if sign is not None else []
    key = Key(str(key_file()), key_id(public), public_pem(public).decode(), known is None, signed)
    lines = [f"{'Your key is made' if key.made else 'Your key'}: {key.file}", f"Fingerprint: {key.key_id}"]
    lines += [f"Public key: {out}"] if out else []
    lines += [f"Signed: {path}" for path in signed] or (["Nothing there is unsigned."] if sign else [])
    report(key, as_json, escape("\n".join(lines)))


def verify(
    adapter: Annotated[
        Path, typer.Argument(metavar="FILE_OR_RUN", help="A run, an adapter's folder, or an exported file.")
    ],
    dataset: Dataset = None,
    recordings: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The original recordings: every slice is cut again and compared."),
    ] = None,
    trust: Trust = None,
    base: Annotated[
        str | None, typer.Option(help="Where its base lies, if not where it was: a name or a folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove what an adapter was made from, as far as that can be proved.

    In this order: its tensors are untouched; who signed; base and recipe are those stated; every clip leads to a
    recording with a right that allows it; nothing held out was trained on; with --dataset and --recordings, the slices
    are those, and come out of the originals bit for bit. Of a run, its adapter and its best one are verified.

    Exit status: 0 proved, 2 tampered with, 3 incomplete (something to compare is missing), 4 rights (a clip may not be
    used), 1 there is nothing to verify.

    Example: woodshed verify runs/mykit --dataset mykit --recordings ~/takes
    """
    from finetune.provenance.keys import trusted_id
    from finetune.provenance.results import NOT_PROVED, exit_code
    from finetune.provenance.verify import verify as prove

    seen = prove(adapter, dataset, recordings, trusted_id(trust) if trust else None, base)
    code = int(exit_code([check for each in seen for check in each.checks]))
    lines = []
    for each in seen:
        lines += [f"[bold]{escape(each.path)}[/bold]", *_lines(each.checks), ""]
    verdict = {0: "Proved.", 2: "Tampered with.", 3: "Incomplete.", 4: "Used without a right."}[code]
    lines += [f"[bold]{verdict}[/bold] Not proved, whatever is above:", *(f"  {each}" for each in NOT_PROVED)]
    _report(AllVerified(code, seen), code, as_json, lines)


def prove_inclusion(
    adapter: Annotated[
        Path | None,
        typer.Argument(metavar="FILE_OR_RUN", help="The adapter, or the run, that learned from the clip."),
    ] = None,
    clip: Annotated[str | None, typer.Argument(help="The clip's id, or the SHA-256 of its WAV.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write the proof; unsaid: CLIP.proof.json.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="PROOF", help="Check a proof that somebody gave you, instead of making one."),
    ] = None,
    wav: Annotated[Path | None, typer.Option(help="With --check: the clip's WAV, to compare.")] = None,
    dataset: Dataset = None,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Show that one clip was in the training set of an adapter, without showing any other.

    The proof is a small file: the clip's own row, hashes that lead from it to the root that the adapter's signed
    statement names, and that statement. It needs nothing else to be checked: --check PROOF, with the exit status of
    `woodshed verify`.

    Example: woodshed prove-inclusion runs/mykit take3-0004-1a2b3c4d
    """
    from finetune.provenance import inclusion
    from finetune.provenance.keys import trusted_id
    from finetune.provenance.results import exit_code

    if check is not None:
        shown = inclusion.check_inclusion(check, trusted_id(trust) if trust else None, wav)
        _report(shown, int(exit_code(shown.checks)), as_json, _lines(shown.checks))
    if adapter is None or clip is None:
        raise typer.BadParameter("name the adapter and the clip, or a proof with --check.")
    from finetune.files import write_file

    place = out or Path(f"{clip}.proof.json")
    write_file(place, inclusion.prove_inclusion(adapter, clip, dataset))
    report(
        Proof(str(place), clip),
        as_json,
        escape(f"{place}: shows that {clip} was trained on, and no other clip."),
    )


def withdraw(
    recording: Annotated[
        str,
        typer.Argument(help="The recording: its name in the dataset, its file, or the SHA-256 of its sound."),
    ],
    dataset: Annotated[Path, typer.Option(metavar="DIR", help="The dataset that it is in.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Where to look for adapters, as often as needed; unsaid: runs."),
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, to be kept with it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a recording, and list every adapter that learned from it.

    `prep` leaves it out from now on, `train` refuses the dataset until prep has run, and `verify` ends with 4 for what
    learned from it. An adapter cannot unlearn: what is listed is to be deleted or trained anew, and whoever has a copy
    told. Withdrawn by mistake: delete its line in withdrawn.jsonl of the dataset and of the runs listed.

    Example: woodshed withdraw take7.wav --dataset mykit --runs runs --reason "the player asked for it"
    """
    from finetune.provenance.withdraw import withdraw as take_back

    folders = runs or [path for path in [Path("runs")] if path.is_dir()]
    done = take_back(recording, dataset, folders, reason)
    report(done, as_json, escape("\n".join(_told(done, [str(folder) for folder in folders]))))


def _report(found: AllVerified | Shown, code: int, as_json: bool, lines: Sequence[str]) -> None:
    """Print what was found, and end with its exit status; `ok` is that it was proved."""
    if as_json:
        print(json.dumps({"ok": code == 0, **dataclasses.asdict(found)}))
    else:
        words.print("\n".join(lines), soft_wrap=True)
    raise typer.Exit(code)


def _told(done: Withdrawal, folders: Sequence[str]) -> list[str]:
    when = f"was withdrawn on {done.date} already" if done.before else "is withdrawn"
    lines = [f"{done.recording} {when}."]
    if done.clips:
        lines.append(
            f"{done.clips} clips of the dataset are cut from it; `woodshed prep` again takes them out."
        )
    looked = ", ".join(folders) or "no folder (--runs)"
    lines.append(
        f"Adapters that learned from it, in {looked}:"
        if done.contains
        else f"No adapter in {looked} is known to."
    )
    lines += [f"  {each.path}" for each in done.contains]
    if done.unknown:
        lines.append("Of these nothing here says what they learned from:")
        lines += [f"  {path}" for path in done.unknown]
    return lines


def _lines(checks: Sequence[Check]) -> list[str]:
    return [
        f"  [{MARKS[each.status]}]{each.status:<10}[/]  {each.check:<10}  {escape(each.words)}"
        for each in checks
    ]

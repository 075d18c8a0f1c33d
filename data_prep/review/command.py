"""`woodshed review`: parse, serve, say where."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from data_prep.review.session import Session

PORT = 7645


def review(
    dataset: Annotated[Path, typer.Argument(help="Folder that `woodshed prep` wrote.")],
    recordings: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the recordings are, for context and for moving cuts. Unsaid: where prep found them.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help=f"Port on this machine; 0 is any free one. Unsaid: {PORT}, or a free one."
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in your browser.")] = True,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object on stdout when the page is ready, words on stderr."),
    ] = False,
) -> None:
    """Hear each slice, move its cut, edit its caption, accept or reject it, on a page in your browser.

    The page is served to this machine alone, with a key in its link. Everything is saved at once and survives a
    crash. Rejected slices are not trained on; what you decided stays when you run prep again. Ctrl-C ends it.

    Example: woodshed review dataset/
    """
    from data_prep.dataset import MANIFEST
    from data_prep.dataset_folder import DatasetFolder
    from data_prep.dataset_lock import dataset_lock
    from data_prep.files import PrepError, disk_errors
    from data_prep.review.session import Session
    from data_prep.review.sources import library_of

    if not (dataset / MANIFEST).is_file():
        raise PrepError(f"{dataset} is no dataset: make it with `woodshed prep RECORDINGS {dataset}`.")
    folder = DatasetFolder(dataset)
    with disk_errors(dataset), dataset_lock(dataset):
        folder.clean()
        session = Session(folder, library_of(folder, recordings))
        recovered = session.recover()
        _serve(session, port, recovered, browser, as_json)


def _serve(session: Session, port: int | None, recovered: int, browser: bool, as_json: bool) -> None:
    """Serve until Ctrl-C or a signal to end; then write what is pending."""
    from data_prep.review.server import ReviewServer

    try:
        server = ReviewServer(session, PORT if port is None else port)
    except OSError:
        if port is not None:
            raise
        server = ReviewServer(session)
    stopped = threading.Event()
    settler = threading.Thread(target=session.settling.run, args=(session.wake, stopped), daemon=True)
    settler.start()
    threading.Thread(target=session.sources.warm_up, daemon=True).start()

    def end(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    _announce(server.url, session, recovered, as_json)
    if browser and _has_screen():
        import webbrowser

        webbrowser.open(server.url)
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        server.server_close()
        stopped.set()
        session.wake.set()
        settler.join(timeout=10)
        session.settling.settle()
        session.reviews.journal.close()
    print("Everything is saved.", file=sys.stderr)


def _has_screen() -> bool:
    """Without one, a browser of the terminal would open in the terminal, and wait."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _announce(url: str, session: Session, recovered: int, as_json: bool) -> None:
    if recovered:
        print(f"{recovered} reviews of a page that ended abruptly are taken over.", file=sys.stderr)
    if session.sources.root is None:
        print("The recordings are not known: say --recordings FOLDER to move cuts.", file=sys.stderr)
    print(f"Review {len(session.reviews.rows)} slices at\n\n  {url}\n\nCtrl-C ends it.", file=sys.stderr)
    if as_json:
        print(json.dumps({"ok": True, "url": url}), flush=True)

"""What all tests share: no network, and the real recordings where they are at hand."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["WOODSHED_CONFIG"] = str(Path(tempfile.gettempdir()) / "woodshed-tests-have-no-key")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for another machine fails; loopback stays open."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else str(address)
            if host not in ("127.0.0.1", "::1", "localhost"):
                raise AssertionError(f"a test reached for the network: {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real CC0 percussion, or a skip that says how to provide it."""
    folder = Path(os.environ.get("WOODSHED_RECORDINGS", ROOT.parent / "shared" / "recordings"))
    if not (folder / "takes").is_dir():
        pytest.skip(
            f"no real recordings in {folder}: set WOODSHED_RECORDINGS to a folder with takes/ and loops/"
        )
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Headless Chromium, driven by Playwright (the extra `browser`); a skip where either is missing."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    path = next(
        (found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None
    )
    if not path:
        pytest.skip("no Chromium on this machine: apt install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield browser
        browser.close()

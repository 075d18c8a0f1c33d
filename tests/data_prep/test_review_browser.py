"""The review page in headless Chromium, driven by Playwright (the extra `browser`); skipped where either is missing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from reviewing import manifest

from data_prep.dataset import clips

SCRIPT = "from data_prep.review.command import review; import typer; typer.run(review)"
DESKTOP, PHONE = {"width": 1280, "height": 820}, {"width": 390, "height": 844}
PATIENCE = 20_000
"""Milliseconds; a busy machine is not a fault."""


@pytest.fixture(scope="module")
def whole(library, tmp_path_factory, run_prep) -> Path:
    dataset = tmp_path_factory.mktemp("browsed") / "ds"
    assert run_prep(library, dataset, "--bars", "1").code == 0
    return dataset


@dataclass
class Served:
    """`woodshed review` in a process of its own, always on the same port."""

    dataset: Path
    library: Path
    port: int
    url: str = ""
    process: Any = None

    def start(self) -> None:
        words = [
            str(self.dataset),
            "--recordings",
            str(self.library),
            "--port",
            str(self.port),
            "--no-browser",
            "--json",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.url = json.loads(self.process.stdout.readline())["url"]

    def end(self, number: int) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def served(whole, library, tmp_path) -> Iterator[Served]:
    dataset = shutil.copytree(whole, tmp_path / "ds")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Served(dataset, library, port)
    server.start()
    yield server
    server.end(signal.SIGTERM)


@dataclass
class Window:
    page: Any
    faults: list[str] = field(default_factory=list)


@pytest.fixture
def window(chromium) -> Iterator[Callable[..., Window]]:
    """Opens windows of one browser; at the end none of them may have had a fault or asked another machine."""
    contexts: dict[str, Any] = {}
    opened: list[Window] = []

    def open_window(url: str, viewport: dict[str, int] = DESKTOP, scheme: str = "light") -> Window:
        if scheme not in contexts:
            contexts[scheme] = chromium.new_context(viewport=viewport, color_scheme=scheme)
        page = contexts[scheme].new_page()
        page.set_default_timeout(PATIENCE)
        mine = Window(page)
        page.on("pageerror", lambda error: mine.faults.append(str(error)))
        page.on(
            "console", lambda said: mine.faults.append(said.text) if "Content Security" in said.text else None
        )
        page.on(
            "request", lambda asked: mine.faults.append(asked.url) if "//127.0.0.1" not in asked.url else None
        )
        page.goto(url)
        page.wait_for_selector(".row")
        opened.append(mine)
        return mine

    yield open_window
    faults = [fault for each in opened for fault in each.faults]
    for context in contexts.values():
        context.close()
    assert faults == []


def selected(page: Any) -> str:
    return page.evaluate("decodeURIComponent(location.hash.slice(1))")


def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact to become true."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait(page: Any, expression: str, argument: Any = None) -> None:
    """Wait until an expression is true in the page (Playwright's own waiting needs eval, which the page forbids)."""
    until(lambda: bool(page.evaluate(expression, argument)))


def write_caption(page: Any, words: str) -> None:
    page.fill("#text", words)
    wait(page, "document.getElementById('saved').textContent === 'Saved'")


def test_a_slice_is_heard_mended_and_judged(served, window):
    page = window(served.url).page
    before = manifest(served.dataset)
    row_id = selected(page)
    assert row_id == next(iter(before))
    page.wait_for_selector("#play:enabled")
    page.keyboard.press("Space")
    page.wait_for_selector("#play.playing")
    wait(page, "!document.getElementById('playhead').hidden")
    where = page.evaluate("document.getElementById('playhead').style.transform")
    wait(page, "was => document.getElementById('playhead').style.transform !== was", where)
    page.keyboard.press("Space")
    page.wait_for_selector("#play:not(.playing)")

    page.wait_for_selector("#stage[data-hits]")
    page.keyboard.press("o")
    page.keyboard.press("ArrowLeft")  # to the hit before the end
    until(lambda: manifest(served.dataset)[row_id]["end_sample"] < before[row_id]["end_sample"] - 400)
    write_caption(page, "my own words, and a 'quote'")
    page.locator("#reject").click()
    wait(page, "was => decodeURIComponent(location.hash.slice(1)) !== was", row_id)
    page.keyboard.press("a")
    until(lambda: sum(bool(row.get("verdict")) for row in manifest(served.dataset).values()) == 2)
    after = manifest(served.dataset)[row_id]
    assert (after["split"], after["text"]) == ("left_out", "my own words, and a 'quote'")
    wav = (served.dataset / "left_out" / f"{row_id}.wav").read_bytes()
    assert hashlib.sha256(wav).hexdigest() == after["clip_sha256"] != before[row_id]["clip_sha256"]
    assert row_id not in {clip.id for clip in clips(served.dataset)}


@pytest.mark.slow
def test_nothing_is_lost_when_the_server_is_killed(served, window):
    page = window(served.url).page
    first = selected(page)
    write_caption(page, "saved before the crash")
    page.locator("#text").press("Escape")
    page.keyboard.press("r")
    wait(page, "was => decodeURIComponent(location.hash.slice(1)) !== was", first)
    second = selected(page)
    page.wait_for_selector("#stage[data-hits]")
    start = manifest(served.dataset)[second]["start_sample"]
    handle = page.locator("#start").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + 12
    page.mouse.move(x, y)
    page.mouse.down()
    page.keyboard.down("Alt")
    page.mouse.move(x + 31, y, steps=4)
    page.keyboard.up("Alt")
    page.mouse.up()
    until(lambda: '"cut"' in (served.dataset / "reviews.jsonl").read_text())
    served.end(signal.SIGKILL)
    page.fill("#text", "typed while the server was away")
    page.wait_for_selector("#trouble:not([hidden])")
    page.close()

    served.start()
    page = window(served.url).page
    until(lambda: manifest(served.dataset)[second]["text"] == "typed while the server was away")
    rows = manifest(served.dataset)
    assert (rows[first]["text"], rows[first]["split"]) == ("saved before the crash", "left_out")
    assert rows[second]["start_sample"] > start
    wav = (served.dataset / rows[second]["split"] / f"{second}.wav").read_bytes()
    assert hashlib.sha256(wav).hexdigest() == rows[second]["clip_sha256"]
    page.reload()
    page.wait_for_selector(".row")
    assert page.locator("#progress-text").inner_text() == f"1 of {len(rows)}"


@pytest.mark.slow
def test_two_windows_see_each_other_and_lose_nothing(served, window):
    one, two = window(served.url).page, window(served.url).page
    row_id = selected(one)
    assert selected(two) == row_id
    write_caption(one, "from the first window")
    wait(two, "document.getElementById('text').value === 'from the first window'")
    one.route("**/api/act", lambda route: route.abort())  # the first window loses its server for a moment
    one.fill("#text", "written in the first")
    write_caption(two, "written in the second")
    one.unroute("**/api/act")
    one.wait_for_selector("#conflict:not([hidden])")
    assert one.locator("#theirs").inner_text() == "written in the second"
    assert one.locator("#mine").inner_text() == "written in the first"
    one.locator("#keep-mine").click()
    wait(two, "document.getElementById('text').value === 'written in the first'")
    until(lambda: manifest(served.dataset)[row_id]["text"] == "written in the first")


@pytest.mark.slow
def test_everything_is_reached_by_keys(served, window):
    page = window(served.url).page
    rows = manifest(served.dataset)
    ids = list(rows)
    page.keyboard.press("?")
    assert page.locator("#help[open] kbd").count() >= 20
    page.keyboard.press("Escape")
    for key, at in (("j", 1), ("ArrowDown", 2), ("k", 1), ("End", len(ids) - 1), ("Home", 0)):
        page.keyboard.press(key)
        assert selected(page) == ids[at], key
    page.keyboard.press("h")
    wait(page, "document.getElementById('toast').textContent.includes('halved')")
    tempo = rows[ids[0]]["fields"]["tempo"]["value"]
    assert float(page.locator("#bpm").inner_text()) == pytest.approx(tempo / 2, abs=0.06)
    page.keyboard.press("Control+z")
    wait(page, "bpm => Number(document.getElementById('bpm').textContent) === bpm", round(tempo, 1))
    page.keyboard.press("b")
    page.keyboard.type("loop")
    page.keyboard.press("Tab")
    page.keyboard.type("groove")
    wait(page, "!document.getElementById('replace-all').disabled")
    assert "loop" in page.locator("#replace-preview del").first.inner_text()
    page.locator("#replace-all").press("Enter")
    page.wait_for_selector("#replace:not([open])", state="attached")
    until(lambda: not any("loop" in row["text"] for row in manifest(served.dataset).values()))
    page.keyboard.press("/")
    page.keyboard.type("seven_eight")
    wanted = [row_id for row_id, row in rows.items() if "seven_eight" in row["recording"]]
    wait(page, "count => document.querySelector('.row').getAttribute('aria-setsize') == count", len(wanted))
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert selected(page) in wanted


@pytest.mark.slow
@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_nothing_runs_out_of_the_window_and_all_can_be_touched(served, window, viewport, scheme):
    page = window(served.url, viewport, scheme).page
    views = [lambda: None, lambda: page.locator(".row").nth(3).click(), lambda: page.keyboard.press("?")]
    for view in views:
        view()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        small = page.evaluate(
            "[...document.querySelectorAll('button, input:not([type=checkbox]), select')]"
            ".filter(each => each.offsetParent && (each.offsetHeight < 43 || each.offsetWidth < 43))"
            ".map(each => each.id || each.textContent)"
        )
        assert small == []
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button')].filter(each => !each.getAttribute('aria-label') && "
        "!each.textContent.trim()).length"
    )
    assert unnamed == 0
    page.keyboard.press("Escape")
    assert page.locator("#accept").is_visible()
    page.keyboard.press("j")
    if viewport is PHONE:
        page.locator("#back").click()
        wait(page, "!document.body.classList.contains('open')")
    assert page.locator(".row[aria-selected=true]").get_attribute("aria-posinset") == "5"

"""The listening page in headless Chromium, from disk (the extra `browser`); skipped where either is missing.

What axe finds is asked where axe-core is: `npm install axe-core` anywhere, and WOODSHED_AXE the path of its axe.min.js.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyloudnorm
import pytest

from finetune.audio_files import read_audio
from finetune.report import write_report
from tests.finetune.listening import SECONDS, write_run

DESKTOP, PHONE = {"width": 1280, "height": 820}, {"width": 390, "height": 844}
PATIENCE = 20_000
"""Milliseconds; a busy machine is not a fault."""


@pytest.fixture(scope="module")
def run(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listened to") / "mykit"
    write_run(folder)
    write_report(folder)
    return folder


Open = Callable[..., Any]


@pytest.fixture
def window(chromium: Any, run: Path) -> Iterator[Open]:
    """Opens the page; at the end none may have had a fault, and none asked for anything but the file itself."""
    contexts, faults, asked = [], [], []

    def open_page(viewport: dict[str, int] = DESKTOP, scheme: str = "light", **more: Any) -> Any:
        context = chromium.new_context(viewport=viewport, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto((run / "report.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
    assert [url[:80] for url in asked if not url.startswith("data:image/png;")] == [
        (run / "report.html").as_uri()
    ] * len(contexts)


def wait(page: Any, truth: str) -> None:
    """Until it holds; asked from outside, since the page lets no text become a script."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(truth):
        assert time.monotonic() < end, f"it never came that {truth}"
        time.sleep(0.02)


def play_first(page: Any) -> Any:
    row = page.locator("[data-row]").first
    row.locator(".play").click()
    wait(page, "player.playing() && player.loudness() > 0.001")
    return row


def test_it_sounds_and_goes_on_and_stops(window: Open) -> None:
    page = window()
    row = play_first(page)
    first = page.evaluate("player.position()")
    page.wait_for_timeout(200)
    assert page.evaluate("player.position()") != first
    assert float(row.locator(".at").input_value()) > 0
    row.locator(".play").click()
    wait(page, "!player.playing()")
    wait(page, "player.loudness() < 1e-4")


def test_every_sound_is_decoded_with_its_length(window: Open) -> None:
    page = window()
    lengths = page.evaluate(
        "Promise.all(Object.keys(PAGE.sounds).map(async name => (await player.decode(name)).duration))"
    )
    assert lengths == pytest.approx([SECONDS] * 12, abs=1e-4)


def test_a_switch_keeps_the_place(window: Open) -> None:
    """All takes start at one moment and one place, so that a switch is heard at the very sample."""
    page = window()
    page.evaluate("""() => {
        window.started = [];
        const start = AudioBufferSourceNode.prototype.start;
        AudioBufferSourceNode.prototype.start = function (...when) { started.push(when); start.apply(this, when); };
    }""")
    row = play_first(page)
    started = page.evaluate("started")
    assert len(started) == 3 and started[0] == started[1] == started[2]
    before, after, passed = page.evaluate(
        "(() => { const at = performance.now(); const before = player.position();"
        "document.querySelectorAll('[data-row] .choose')[1].click();"
        "return [before, player.position(), (performance.now() - at) / 1000]; })()"
    )
    assert (after - before) % SECONDS == pytest.approx(passed, abs=0.05)
    assert row.locator(".choose").nth(1).get_attribute("aria-pressed") == "true"
    assert page.evaluate("[player.playing(), started.length]") == [True, 3]


def test_takes_are_equally_loud(window: Open, run: Path) -> None:
    """The files differ by what the base is quieter; with the gains of the page none is louder."""
    page = window()
    heard = {
        name: read_audio(run / "evaluation" / "audio" / f"{name}.flac", 44_100, SECONDS)
        for name in ("set-1-base", "set-1-adapted", "held-out-1")
    }
    gains = {name: page.evaluate(f"PAGE.sounds['{name}'].gain") for name in heard}
    levels = [
        pyloudnorm.Meter(44_100).integrated_loudness(sound.T) + gains[name] for name, sound in heard.items()
    ]
    assert max(levels) - min(levels) < 0.1 and max(gains.values()) - min(gains.values()) > 6


@pytest.mark.slow
def test_without_loop_it_ends_and_begins_again(window: Open) -> None:
    page = window()
    row = page.locator("[data-row^=copy]").first
    row.locator(".loop").click()
    row.locator(".play").click()
    wait(page, "player.playing()")
    wait(page, "!player.playing()")
    assert row.locator(".play").inner_text() == "Play"
    assert float(row.locator(".at").input_value()) == 0


@pytest.mark.slow
def test_a_copy_and_its_clip_play_from_the_matching_place(window: Open) -> None:
    page = window()
    row = page.locator("[data-row=copy-1]")
    assert row.locator(".at").get_attribute("max") == "0.30"
    left = row.locator(".stretch").nth(1).evaluate("mark => parseFloat(mark.style.left)")
    assert left == pytest.approx(100 * 0.1 / SECONDS, abs=0.01)
    assert "A copy." in row.inner_text() and "from 0.10 s" in row.inner_text()


@pytest.mark.slow
def test_a_click_in_the_picture_plays_from_there(window: Open) -> None:
    page = window()
    picture = page.locator("[data-row] .picture").nth(1)
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] / 2, "y": 10})
    wait(page, "player.playing() && player.position() > 0")
    assert page.locator("[data-row] .choose").nth(1).get_attribute("aria-pressed") == "true"
    assert page.evaluate("player.position()") >= 0.9


@pytest.mark.slow
def test_all_is_reached_by_keys(window: Open) -> None:
    page = window()
    page.keyboard.press("Space")
    wait(page, "player.playing()")
    page.keyboard.press("c")
    chosen = page.locator("[data-row]").first.locator(".choose[aria-pressed=true]")
    assert chosen.inner_text().startswith("Your take")
    page.keyboard.press("ArrowLeft")
    assert chosen.inner_text().startswith("Adapted")
    page.keyboard.press("l")
    assert page.locator(".loop").first.get_attribute("aria-pressed") == "false"
    page.keyboard.press("j")
    wait(page, "!player.playing()")
    assert page.evaluate("document.activeElement.closest('[data-row]').dataset.row") == "pair-set-2"
    page.keyboard.press("Enter")
    wait(page, "player.playing()")
    page.locator("#keys").uncheck()
    page.keyboard.press("b")
    assert page.locator("[data-row=pair-set-2] .choose").nth(1).get_attribute("aria-pressed") == "false"


@pytest.mark.slow
def test_checkpoints_are_stepped_through(window: Open) -> None:
    page = window()
    row = page.locator("[data-row=steps-1]")
    assert row.locator("[data-step='-1']").is_disabled()
    for name in ("Step 200", "Step 300"):
        row.locator("[data-step='1']").click()
        assert row.locator(".choose[aria-pressed=true]").inner_text().startswith(name)
    wait(page, "player.playing()")


def begin(page: Any, trials: str, question: str = "adapter") -> None:
    page.locator(f"#blind-setup input[value={question}]").check()
    page.locator("#blind-setup select").select_option(trials)
    page.get_by_role("button", name="Begin").click()


def test_the_blind_test_scores_and_says_what_that_means(window: Open) -> None:
    page = window()
    begin(page, "12")
    right = 0
    for number in range(12):
        wait(page, f"document.getElementById('blind-count').textContent === 'Trial {number + 1} of 12'")
        assert page.locator("#blind-one").is_disabled()
        wait(page, "blind.heard.has(0)")
        page.keyboard.press("b")
        wait(page, "blind.ready")
        truth = page.evaluate("blind.adapterAt")
        hit = number % 4 != 3
        right += hit
        page.keyboard.press(str(1 + (truth if hit else 1 - truth)))
    assert page.locator("#blind-score").inner_text() == "9 of 12" and right == 9
    assert "in 7.3 % of cases" in page.locator("#blind-meaning").inner_text()
    assert page.locator("#blind-answers tr").count() == 12
    assert not page.evaluate("player.playing()")
    page.locator("#blind-again").click()
    assert page.locator("#blind-setup").is_visible() and not page.locator("#blind-result").is_visible()


@pytest.mark.slow
def test_the_blind_test_hides_which_is_which(window: Open) -> None:
    """Over many trials each side is the adapter about as often, and nothing within the test's part says which."""
    page = window()
    sides = page.evaluate("Array.from({length: 400}, () => random() < 0.5).filter(Boolean).length")
    assert 140 < sides < 260
    begin(page, "6", "closer")
    wait(page, "blind.heard.has(0)")
    part = page.locator("#blind-trial")
    assert not re.search(r"set-\d|adapted|\bbase\b", part.evaluate("part => part.outerHTML"), re.IGNORECASE)
    page.keyboard.press("r")
    assert page.locator("#blind-own").get_attribute("aria-pressed") == "true"
    page.keyboard.press("1")
    assert page.locator("#blind-count").inner_text() == "Trial 1 of 6"  # B was not heard yet
    page.locator("#blind-end").click()
    assert page.locator("#blind-score").inner_text() == "No trial was answered"


def test_chances_are_those_of_the_binomial(window: Open) -> None:
    page = window()
    for trials in (1, 6, 12, 20):
        for hits in range(trials + 1):
            exact = sum(math.comb(trials, count) for count in range(hits, trials + 1)) / 2**trials
            assert page.evaluate(f"chanceOf({hits}, {trials})") == pytest.approx(exact, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_runs_out_of_the_window_and_axe_finds_nothing(
    window: Open, viewport: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    page = window(viewport, scheme, reduced_motion="reduce", bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate(
        "[...document.querySelectorAll('button, select')]"
        ".filter(each => each.offsetParent && each.offsetHeight < 43).map(each => each.textContent)"
    )
    assert small == []
    assert page.screenshot(path=tmp_path / "page.png", full_page=True)
    axe = Path(os.environ.get("WOODSHED_AXE", "node_modules/axe-core/axe.min.js"))
    if not axe.is_file():
        pytest.skip("axe-core is not here: npm install axe-core, and WOODSHED_AXE its axe.min.js")
    page.evaluate(axe.read_text("utf-8") + "; 0")
    for part in ("page", "trial"):
        if part == "trial":
            begin(page, "6")
        found = page.evaluate("axe.run()")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []

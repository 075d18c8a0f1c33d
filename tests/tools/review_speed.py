"""How smoothly the review page scrolls through thousands of slices, and how quickly it answers.

python -m tests.tools.review_speed [--slices 5000] [--json]

Makes a dataset of that many slices in a temporary folder, serves it with `woodshed review`, and drives the page in
headless Chromium (the extra `browser`). Frame times are those between two animation frames while the list scrolls by
a step per frame; `late` is the share of frames over 1.5 times the usual one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

SAMPLE_RATE = 44_100
CLIP_SECONDS = 2.0
SOUNDS = 100
"""WAVs that differ; the others are links to them."""
FRAMES = 400
STEPS = {
    "reading (60 px a frame)": 60,
    "flicking (600 px a frame)": 600,
    "from end to end (6000 px a frame)": 6000,
}
SCROLL = """
([step, frames]) => new Promise((done) => {
  const list = document.getElementById("list");
  const times = [];
  let last = performance.now();
  let direction = 1;
  list.scrollTop = 0;
  const next = (now) => {
    times.push(now - last);
    last = now;
    if (times.length > frames) return done(times.slice(1));
    if (list.scrollTop + list.clientHeight >= list.scrollHeight - 1) direction = -1;
    else if (list.scrollTop <= 0) direction = 1;
    list.scrollTop += direction * step;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})
"""


def make_dataset(root: Path, slices: int) -> tuple[Path, Path]:
    """A dataset of `slices` short slices of one recording, and the folder of that recording."""
    library, dataset = root / "library", root / "dataset"
    (dataset / "train").mkdir(parents=True)
    library.mkdir()
    rng = np.random.default_rng(0)
    length = round(CLIP_SECONDS * SAMPLE_RATE)
    decay = np.exp(-np.arange(length) % (length // 4) / 4000)[:, None]
    for number in range(min(SOUNDS, slices)):
        sound = rng.standard_normal((length, 2)) * decay * rng.uniform(0.1, 0.5)
        soundfile.write(root / f"{number}.wav", sound, SAMPLE_RATE, subtype="PCM_24")
    soundfile.write(library / "take.wav", rng.standard_normal((60 * SAMPLE_RATE, 2)) * 0.1, SAMPLE_RATE)
    with (dataset / "manifest.jsonl").open("w") as manifest:
        for number in range(slices):
            os.link(root / f"{number % SOUNDS}.wav", dataset / "train" / f"take-{number:05}.wav")
            row = _row(number, length)
            (dataset / "train" / f"take-{number:05}.txt").write_text(row["text"])
            manifest.write(json.dumps(row) + "\n")
    return dataset, library


def _row(number: int, length: int) -> dict[str, Any]:
    start = number * length % (58 * SAMPLE_RATE)
    caption = f"TrackType: Instrument. kit loop {number}, bright and dry. BPM: 92. Length: 2 seconds"
    fact = {"source": "measurement", "confidence": 0.9}
    words = {"kind": "loop", "brightness": "bright", "room": "dry", "width": "narrow", "metre": "4/4"}
    numbers = {
        "tempo": 92.0,
        "centroid_hz": 4000,
        "loudness_lufs": -18.2,
        "hits_per_second": 4.5,
        "seconds": 2.0,
    }
    return {
        "id": f"take-{number:05}", "split": "train", "recording": "take.wav", "pcm_sha256": "0" * 64,
        "sample_rate": SAMPLE_RATE, "start_sample": start, "end_sample": start + length, "gain_db": 0.0,
        "fade_in_samples": 66, "fade_out_samples": 220, "clip_sha256": f"{number:064x}", "seconds": CLIP_SECONDS,
        "recording_seconds": 60.0, "text": caption, "captions": [caption] * 5,
        "fields": {name: {"value": value} | fact for name, value in (words | numbers).items()},
        "quality": ["mono"] if number % 7 == 0 else [], "reviewed": False, "rights": "own_recording-0",
    }  # fmt: skip


def measure(dataset: Path, library: Path, slices: int) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    script = "from data_prep.review.command import review; import typer; typer.run(review)"
    words = [str(dataset), "--recordings", str(library), "--port", "0", "--no-browser", "--json"]
    began = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert server.stdout
        url = json.loads(server.stdout.readline())["url"]
        figures: dict[str, Any] = {
            "slices": slices,
            "seconds until it is served": round(time.perf_counter() - began, 2),
        }
        with sync_playwright() as playwright:
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 820})
            began = time.perf_counter()
            page.goto(url)
            page.wait_for_selector(".row")
            figures["seconds until the list is there"] = round(time.perf_counter() - began, 2)
            page.wait_for_timeout(6000)  # what finds onsets is loaded
            figures["scrolling"] = {name: _frames(page, step) for name, step in STEPS.items()}
            figures["list elements"] = page.locator(".row").count()
            figures["milliseconds of a verdict, on disk"] = _verdicts(page)
            began = time.perf_counter()
            page.fill("#search", "loop 4321")
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            figures["milliseconds of a search"] = round(1000 * (time.perf_counter() - began), 1)
            browser.close()
    finally:
        import psutil

        figures["server's memory, MB"] = round(psutil.Process(server.pid).memory_info().rss / 1e6)
        server.terminate()
        server.wait(60)
    return figures


def _frames(page: Any, step: int) -> dict[str, float]:
    times = sorted(page.evaluate(SCROLL, [step, FRAMES]))
    usual = statistics.median(times)
    return {
        "p50 ms": round(usual, 1),
        "p95 ms": round(times[int(0.95 * len(times))], 1),
        "longest ms": round(times[-1], 1),
        "late": round(sum(each > 1.5 * usual for each in times) / len(times), 3),
    }


def _verdicts(page: Any) -> dict[str, float]:
    """From the request to the answer, of 100 verdicts one after another."""
    times = page.evaluate("""
        async () => {
          const times = [];
          const { rows } = await (await fetch("/api/rows")).json();
          for (const row of rows.slice(0, 100)) {
            const began = performance.now();
            const asked = { do: "verdict", tab: "speed", versions: { [row.id]: 0 }, verdict: "accepted" };
            const headers = { "Content-Type": "application/json" };
            await fetch("/api/act", { method: "POST", headers, body: JSON.stringify(asked) });
            times.push(performance.now() - began);
          }
          return times;
        }
    """)
    times.sort()
    return {"p50": round(statistics.median(times), 1), "p95": round(times[94], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(*make_dataset(Path(folder), asked.slices), asked.slices)
    if asked.json:
        print(json.dumps(figures))
        return
    scrolling = figures.pop("scrolling")
    for name, value in (figures | scrolling).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()

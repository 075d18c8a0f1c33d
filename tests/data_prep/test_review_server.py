"""The review over HTTP: who may ask, what is saved, what two windows may do, what a crash leaves."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from reviewing import manifest, reviewing

from data_prep.dataset import DatasetError, clips
from data_prep.dataset_lock import dataset_lock
from data_prep.files import PrepError
from data_prep.review.command import review
from data_prep.review.journal import JOURNAL
from data_prep.slicing.clip import clip_wav, span_of
from data_prep.sound.recording import decode


@pytest.fixture(scope="module")
def whole(library, tmp_path_factory, run_prep) -> Path:
    dataset = tmp_path_factory.mktemp("reviewed") / "ds"
    assert run_prep(library, dataset, "--bars", "1", "--trigger", "adakit").code == 0
    return dataset


@pytest.fixture
def dataset(whole, tmp_path) -> Path:
    shutil.copytree(whole, tmp_path / "ds")
    return tmp_path / "ds"


@pytest.fixture
def page(dataset, library):
    with reviewing(dataset, library) as page:
        yield page


def first(page) -> dict:
    return page.get("/api/rows").json["rows"][0]


# Who may ask


def test_only_the_link_with_its_key_opens_the_page(page):
    link = page.server.url.partition("7645")[2] or page.server.url.split("/", 3)[3]
    assert page.get("/", Cookie="").status == 403
    assert page.get("/api/rows", Cookie="").status == 403
    assert page.get("/?token=guessed", Cookie="").status == 403
    opened = page.get(f"/{link.lstrip('/')}", Cookie="")
    assert opened.status == 200
    cookie = opened.headers["Set-Cookie"]
    assert "SameSite=Strict" in cookie and "HttpOnly" in cookie
    assert page.get("/", Cookie=cookie.split(";")[0]).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "[::1]:80"])
def test_another_name_for_this_machine_gets_nothing(page, host):
    """DNS rebinding: a foreign name that resolves to this machine."""
    assert page.get("/api/rows", Host=host).status == 421
    assert page.post({"do": "undo", "tab": "one"}, Host=host).status == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "https://127.0.0.1"])
def test_a_write_from_elsewhere_is_refused(page, origin):
    row = first(page)
    body = {"do": "verdict", "tab": "x", "versions": {row["id"]: 0}, "verdict": "rejected"}
    assert page.post(body, Origin=origin).status == 403
    assert page.row(row["id"])["state"] == "new"


def test_a_form_of_another_site_is_no_request(page):
    assert page.post({"do": "undo", "tab": "x"}, **{"Content-Type": "text/plain"}).status == 415


def test_nothing_may_be_loaded_from_elsewhere(page):
    policy = page.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    sources = Path(sys.modules["data_prep.review"].__file__).parent / "page"
    for path in sources.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path.name
        assert "style=" not in text and "onclick" not in text, path.name


@pytest.mark.parametrize(
    "path", ["/page/../command.py", "/page/..%2fcommand.py", "/sound/..%2f..%2fx.wav", "/etc"]
)
def test_no_other_file_is_given(page, path):
    assert page.get(path).status in (400, 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"do": "format"},
        {"do": "cut", "tab": "x"},
        {"do": "caption", "tab": "x", "id": 7, "version": "x"},
        [],
    ],
)
def test_what_is_no_request_is_refused_and_changes_nothing(page, dataset, body):
    assert page.post(body).status == 400
    assert (dataset / JOURNAL).read_bytes() == b""


# Sound and pictures


def test_sound_is_given_in_parts(page, dataset):
    row = first(page)
    content = (dataset / row["split"] / f"{row['id']}.wav").read_bytes()
    address = f"/sound/{row['id']}.wav"
    assert page.get(address).content == content
    part = page.get(address, Range="bytes=100-299")
    assert (part.status, part.content) == (206, content[100:300])
    assert part.headers["Content-Range"] == f"bytes 100-299/{len(content)}"
    assert page.get(address, Range="bytes=-50").content == content[-50:]
    assert page.get(address, Range=f"bytes={len(content) - 7}-").content == content[-7:]
    assert page.get(address, Range="bytes=9-3").status == 200


def test_context_is_the_recording_at_the_level_of_the_slice(page, dataset, library):
    row = manifest(dataset)[first(page)["id"]]
    start, end = row["start_sample"] - 500, row["end_sample"] + 500
    answer = page.get(f"/sound/{row['id']}.wav?start={start}&end={end}")
    (Path(dataset) / "context.wav").write_bytes(answer.content)
    heard, _ = soundfile.read(dataset / "context.wav", dtype="float32")
    recording = decode(library / row["recording"]).samples[:, start:end].T * 10 ** (row["gain_db"] / 20)
    assert np.abs(heard - recording).max() < 2**-14


def test_a_picture_shows_where_hits_are(page, dataset):
    row = manifest(dataset)[first(page)["id"]]
    start, end = row["start_sample"], row["end_sample"]
    answer = page.get(f"/api/picture/{row['id']}?start={start}&end={end}&columns=300")
    header, content = answer.content.split(b"\n", 1)
    header = json.loads(header)
    assert len(content) == 2 * 300 + header["frames"] * header["bands"]
    peaks = np.frombuffer(content[:600], np.int8).reshape(300, 2).astype(int)
    loudest = int(np.argmax(peaks[:, 1] - peaks[:, 0]))
    at = start + (loudest + 0.5) * (end - start) / 300
    cuts = page.get(f"/api/cuts/{row['id']}?start={start}&end={end}").json["cuts"]
    assert min(abs(cut - at) for cut in cuts) < 0.06 * 44100


def test_without_recordings_cuts_stay_and_the_reason_is_said(dataset):
    with reviewing(dataset, None) as page:
        row = first(page)
        assert "--recordings" in page.get("/api/rows").json["recordings"][row["recording"]]["away"]
        answer = page.act("cut", id=row["id"], version=0, start=row["start"] + 441, end=row["end"])
        assert answer.status == 422 and "--recordings" in answer.json["error"]
        assert page.get(f"/api/picture/{row['id']}?start=0&end=1&columns=100").status == 200


# What is saved


def test_a_caption_is_on_disk_before_it_is_answered(page, dataset):
    row = first(page)
    answer = page.act("caption", id=row["id"], version=0, text="brushes on a suitcase")
    assert answer.json["rows"][0]["text"] == "brushes on a suitcase"
    assert "brushes on a suitcase" in (dataset / JOURNAL).read_text()
    page.session.settling.settle()
    assert (dataset / row["split"] / f"{row['id']}.txt").read_text() == "brushes on a suitcase"
    saved = manifest(dataset)[row["id"]]
    assert (saved["captions"], saved["reviewed"], saved["version"]) == (["brushes on a suitcase"], True, 1)
    listed = [
        json.loads(line) for line in (dataset / row["split"] / "metadata.jsonl").read_text().splitlines()
    ]
    assert "brushes on a suitcase" in [each["text"] for each in listed]


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 3000])
def test_what_is_no_caption_is_refused(page, text):
    row = first(page)
    assert page.act("caption", id=row["id"], version=0, text=text).status == 422
    assert page.row(row["id"])["text"] == row["text"]


def test_a_rejected_slice_is_not_trained_on_and_comes_back(page, dataset):
    row = first(page)
    page.act("verdict", versions={row["id"]: 0}, verdict="rejected")
    page.session.settling.settle()
    assert row["id"] not in {clip.id for clip in clips(dataset)}
    assert not (dataset / row["split"] / f"{row['id']}.wav").exists()
    assert (dataset / "left_out" / f"{row['id']}.wav").is_file()
    assert row["id"] not in (dataset / row["split"] / "metadata.jsonl").read_text()
    page.act("verdict", versions={row["id"]: 1}, verdict="accepted")
    page.session.settling.settle()
    back = next(clip for clip in clips(dataset) if clip.id == row["id"])
    assert back.split == row["split"]
    assert hashlib.sha256(back.path.read_bytes()).hexdigest() == back.clip_sha256
    assert not (dataset / "left_out" / f"{row['id']}.wav").exists()


def test_a_moved_cut_is_the_recording_bit_for_bit(page, dataset, library):
    row = first(page)
    before = manifest(dataset)[row["id"]]
    page.act("cut", id=row["id"], version=0, start=row["start"] + 1234, end=row["end"] - 40_000)
    page.session.settling.settle()
    after = manifest(dataset)[row["id"]]
    assert (after["start_sample"], after["end_sample"]) == (row["start"] + 1234, row["end"] - 40_000)
    wav = (dataset / after["split"] / f"{row['id']}.wav").read_bytes()
    assert wav == clip_wav(decode(library / after["recording"]).samples, span_of(after), after["gain_db"])
    assert hashlib.sha256(wav).hexdigest() == after["clip_sha256"] != before["clip_sha256"]
    assert (
        soundfile.info(dataset / after["split"] / f"{row['id']}.wav").frames
        == row["end"] - row["start"] - 41_234
    )
    assert after["seconds"] == pytest.approx((row["end"] - row["start"] - 41_234) / 44_100, abs=1e-6)
    said = float(after["text"].split("Length: ")[1].split(" ")[0])
    assert said == pytest.approx(after["seconds"], abs=0.05)
    page.act("undo")
    page.session.settling.settle()
    assert {**manifest(dataset)[row["id"]], "version": 0, "reviewed": False} == {**before, "version": 0}
    wav = (dataset / after["split"] / f"{row['id']}.wav").read_bytes()
    assert hashlib.sha256(wav).hexdigest() == before["clip_sha256"]


@pytest.mark.parametrize(("start", "end"), [(1000, 1500), (5000, 4000), (10**9, 2 * 10**9)])
def test_what_is_no_slice_is_refused(page, start, end):
    row = first(page)
    assert page.act("cut", id=row["id"], version=0, start=start, end=end).status == 422


def test_half_the_tempo_is_that_of_the_recording_and_its_captions(page, dataset):
    row = first(page)
    mine = [each for each in page.get("/api/rows").json["rows"] if each["recording"] == row["recording"]]
    page.act("tempo", id=row["id"], version=0, factor=0.5)
    page.session.settling.settle()
    rows = manifest(dataset)
    for each in mine:
        now = rows[each["id"]]
        assert now["fields"]["tempo"] == {"value": each["tempo"] / 2, "source": "user", "confidence": 1.0}
        said = f"BPM: {each['tempo'] / 2:.1f}".removesuffix(".0")
        assert said in now["text"] and all(said in text for text in now["captions"] if "BPM" in text)
    others = [each for each in rows.values() if each["recording"] != row["recording"]]
    assert others and not any(each.get("version") for each in others)
    recordings = [json.loads(line) for line in (dataset / "recordings.jsonl").read_text().splitlines()]
    assert {each["recording"]: each.get("reviewed_bpm") for each in recordings}[row["recording"]] == row[
        "tempo"
    ] / 2


def test_a_caption_of_ones_own_follows_in_its_numbers_alone(page, dataset):
    row = first(page)
    bpm = f"{row['tempo']:.1f}".removesuffix(".0")
    length = row["text"].split("Length: ")[1]
    page.act(
        "caption",
        id=row["id"],
        version=0,
        text=f"ring of {bpm} keys at {bpm} BPM. BPM: {bpm}. Length: {length}",
    )
    page.act("tempo", id=row["id"], version=1, factor=2)
    page.act("cut", id=row["id"], version=2, start=row["start"], end=row["start"] + 66_150)
    twice = f"{2 * row['tempo']:.1f}".removesuffix(".0")
    assert (
        page.row(row["id"])["text"] == f"ring of {bpm} keys at {twice} BPM. BPM: {twice}. Length: 1.5 seconds"
    )


def test_what_is_measured_is_measured_again_where_a_cut_moved(page, dataset):
    """A bar cut down to its first hit is a one-shot, and its caption says so, with the trigger word."""
    row = first(page)
    assert "adakit loop" in row["text"]
    page.act("cut", id=row["id"], version=0, start=row["start"], end=row["start"] + 6000)
    now = page.row(row["id"])
    assert "adakit one-shot" in now["text"] and "loop" not in now["text"]
    assert {name: value for name, value, *_ in now["fields"]}["kind"] == "one-shot"
    page.act("undo")
    assert page.row(row["id"])["text"] == row["text"]


def test_replacing_words_shows_first_what_it_will_do(page):
    rows = page.get("/api/rows").json["rows"]
    asked = {"find": "LOOP", "replacement": "groove", "match_case": False, "whole_words": True}
    asked |= {"ids": [row["id"] for row in rows]}
    seen = page.act("replace", **asked, preview=True).json
    assert seen["count"] == sum("loop" in row["text"] for row in rows) > 0
    assert all(each["after"] == each["before"].replace("loop", "groove") for each in seen["shown"])
    assert page.get("/api/rows").json["rows"] == rows
    done = page.act("replace", **asked, preview=False, number=seen["number"]).json
    assert {row["id"]: row["text"] for row in done["rows"]} == {
        each["id"]: each["after"] for each in seen["shown"]
    }
    page.act("undo")
    assert [row["text"] for row in page.get("/api/rows").json["rows"]] == [row["text"] for row in rows]


def test_replacing_after_someone_else_wrote_asks_again(page):
    row = first(page)
    asked = {"find": "loop", "replacement": "", "match_case": False, "whole_words": True, "ids": [row["id"]]}
    number = page.act("replace", **asked, preview=True).json["number"]
    page.act("caption", tab="two", id=row["id"], version=0, text="a loop of hers")
    assert page.act("replace", **asked, preview=False, number=number).status == 409
    assert page.row(row["id"])["text"] == "a loop of hers"


def test_a_caption_edited_in_its_txt_meanwhile_is_taken_over(page, dataset):
    one, two = page.get("/api/rows").json["rows"][:2]
    path = dataset / one["split"] / f"{one['id']}.txt"
    path.write_text("by hand")
    later = (dataset / "manifest.jsonl").stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    page.act("caption", id=two["id"], version=0, text="on the page")
    page.session.settling.settle()
    assert manifest(dataset)[one["id"]]["text"] == path.read_text() == "by hand"
    assert page.row(one["id"])["text"] == "by hand"


# Two windows


def test_two_windows_do_not_lose_edits(page):
    row = first(page)
    page.act("caption", tab="one", id=row["id"], version=0, text="from one")
    late = page.act("caption", tab="two", id=row["id"], version=0, text="from two")
    assert late.status == 409
    assert late.json["rows"][0]["text"] == "from one"
    merged = page.act("verdict", tab="two", versions={row["id"]: 0}, verdict="accepted")
    assert merged.status == 200
    assert (page.row(row["id"])["text"], page.row(row["id"])["state"]) == ("from one", "accepted")
    assert page.act("caption", tab="two", id=row["id"], version=2, text="from two").status == 200


def test_a_window_learns_what_the_other_did(page):
    row = first(page)
    assert page.get("/api/changes?since=0").json["rows"] == []
    page.act("verdict", tab="two", versions={row["id"]: 0}, verdict="rejected")
    seen = page.get("/api/changes?since=0").json
    assert [(each["id"], each["state"]) for each in seen["rows"]] == [(row["id"], "rejected")]
    assert page.get(f"/api/changes?since={seen['number']}").json["rows"] == []


def test_undo_is_of_the_window_that_asks(page):
    one, two = page.get("/api/rows").json["rows"][:2]
    page.act("caption", tab="one", id=one["id"], version=0, text="mine")
    page.act("caption", tab="two", id=two["id"], version=0, text="yours")
    page.act("undo", tab="one")
    assert (page.row(one["id"])["text"], page.row(two["id"])["text"]) == (one["text"], "yours")
    page.act("redo", tab="one")
    assert page.row(one["id"])["text"] == "mine"
    assert page.act("redo", tab="one").status == 422


def test_undo_does_not_take_back_what_another_window_wrote_since(page):
    row = first(page)
    page.act("caption", tab="one", id=row["id"], version=0, text="mine")
    page.act("caption", tab="two", id=row["id"], version=1, text="yours")
    assert page.act("undo", tab="one").status == 409
    assert page.row(row["id"])["text"] == "yours"


# Crashes


def test_a_torn_last_line_is_cut_off(dataset, library):
    with reviewing(dataset, library) as page:
        row = first(page)
        page.act("caption", id=row["id"], version=0, text="whole")
    with (dataset / JOURNAL).open("ab") as file:
        file.write(b'{"number": 2, "tab": "one", "what": "caption", "chan')
    with reviewing(dataset, library) as page:
        page.act("caption", id=row["id"], version=1, text="after")
        assert page.act("undo").json["rows"][0]["text"] == "whole"
    assert manifest(dataset)[row["id"]]["text"] == "whole"


def test_another_line_that_is_no_review_stops_with_its_number(dataset, library):
    (dataset / JOURNAL).write_text('{"number": 1}\n')
    with pytest.raises(PrepError, match="line 1"), reviewing(dataset, library):
        pass
    with pytest.raises(DatasetError, match="line 1"):
        clips(dataset)


def test_a_full_disk_says_so_and_changes_nothing(page, dataset, monkeypatch):
    row = first(page)

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert page.act("caption", id=row["id"], version=0, text="lost").status == 507
        assert (
            page.act("cut", id=row["id"], version=0, start=row["start"] + 441, end=row["end"]).status == 507
        )
    assert (dataset / JOURNAL).read_bytes() == b""
    assert not list(dataset.glob("*/.*.part"))
    assert page.row(row["id"]) == row
    assert page.act("caption", id=row["id"], version=0, text="kept").status == 200


def test_what_the_manifest_does_not_hold_yet_is_not_trained_on(dataset, library):
    """A server that dies between the journal and the manifest."""
    with reviewing(dataset, library) as page:
        row = first(page)
        old = (dataset / "manifest.jsonl").read_bytes()
        page.act("verdict", versions={row["id"]: 0}, verdict="rejected")
    (dataset / "manifest.jsonl").write_bytes(old)
    with pytest.raises(DatasetError, match=r"1 reviews of .* are not in its manifest"):
        clips(dataset)
    with reviewing(dataset, library) as page:
        assert page.row(row["id"])["state"] == "rejected"
        assert row["id"] not in {clip.id for clip in clips(dataset)}


def test_a_cut_that_died_before_its_sound_was_in_place_is_finished(dataset, library):
    row_id = next(iter(manifest(dataset)))
    kept = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file() and path.name != JOURNAL}
    with reviewing(dataset, library) as page:
        row = page.row(row_id)
        page.act("cut", id=row_id, version=0, start=row["start"] + 999, end=row["end"])
    for path, content in kept.items():
        path.write_bytes(content)
    with reviewing(dataset, library):
        after = manifest(dataset)[row_id]
        wav = (dataset / after["split"] / f"{row_id}.wav").read_bytes()
        assert after["start_sample"] == row["start"] + 999
        assert hashlib.sha256(wav).hexdigest() == after["clip_sha256"]


def test_after_kill_9_every_answered_review_is_there(dataset, library):
    """The real command, killed while it is asked as fast as it answers."""
    script = "from data_prep.review.command import review; import typer; typer.run(review)"
    words = [str(dataset), "--recordings", str(library), "--port", "0", "--no-browser", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["url"]
    import http.client

    host, _, token = address.removeprefix("http://").partition("/?token=")
    cookie = f"woodshed-review-{host.split(':')[1]}={token}"
    headers = {"Cookie": cookie, "Origin": f"http://{host}", "Content-Type": "application/json"}
    answered = {}
    began = time.monotonic()
    ids = list(manifest(dataset))
    connection = http.client.HTTPConnection(host, timeout=30)
    for number in range(10_000):
        row_id = ids[number % len(ids)]
        body = {
            "do": "caption",
            "tab": "t",
            "id": row_id,
            "version": number // len(ids),
            "text": f"take {number}",
        }
        connection.request("POST", "/api/act", json.dumps(body), headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        answered[row_id] = f"take {number}"
        if time.monotonic() - began > 1.0 and number >= len(ids):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with reviewing(dataset, library) as page:
        texts = {row["id"]: row["text"] for row in page.get("/api/rows").json["rows"]}
        assert {row_id: texts[row_id] for row_id in answered} == answered
    assert {clip.id: clip.text for clip in clips(dataset)} == {**texts, **answered}


def test_what_is_no_dataset_is_named(tmp_path, dataset):
    with pytest.raises(PrepError, match="is no dataset"):
        review(tmp_path)
    with pytest.raises(PrepError, match="is no folder"):
        review(dataset, recordings=tmp_path / "nowhere")
    with dataset_lock(dataset), pytest.raises(PrepError, match="in use"):
        review(dataset)


def test_prep_and_review_do_not_write_at_once(dataset, library, run_prep):
    with dataset_lock(dataset):
        result = run_prep(library, dataset, "--bars", "1")
    assert result.code == 1
    assert "in use" in result.err

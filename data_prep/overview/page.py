"""The overview as one HTML file beside the manifest; it fetches nothing."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import jinja2

from data_prep.files import write_bytes
from data_prep.overview.figures import Overview

PAGE = "report.html"


def write_page(dataset: Path, overview: Overview) -> Path:
    """Write it, whole or not at all; returns its path."""
    write_bytes(dataset / PAGE, render(overview).encode("utf-8", "backslashreplace"))
    return dataset / PAGE


def render(overview: Overview) -> str:
    source = (files("data_prep.overview") / "page.html").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    histograms = {
        "Length": overview.lengths,
        "Tempo": overview.tempi,
        "Kind": overview.kinds,
        "Heard in": overview.kit,
    }
    return template.render(
        overview=overview,
        histograms={title: bins for title, bins in histograms.items() if bins},
        slices=sum(part.slices for part in overview.parts if part.split != "left_out"),
    )

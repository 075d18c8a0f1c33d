"""A fact about a slice: what, known from where, and how sure."""

from __future__ import annotations

from typing import Any

Fact = dict[str, Any]


def fact(value: Any, source: str, confidence: float) -> Fact:
    return {"value": value, "source": source, "confidence": round(confidence, 2)}

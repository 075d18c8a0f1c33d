"""Why a recording is left out."""

from __future__ import annotations


class RecordingFault(Exception):
    """`gate` is one word for programs, the message a sentence for the musician."""

    def __init__(self, gate: str, reason: str) -> None:
        super().__init__(reason)
        self.gate = gate
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.gate, self.reason)

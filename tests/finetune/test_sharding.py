"""A base cut over processes computes what a whole one does, to the last bit, and takes less memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROCESSES = 2


def test_a_sharded_base_computes_the_same_bits(deep_base_folder: Path, tmp_path: Path) -> None:
    """In float32 and packed, LoRA and DoRA, kept and computed again, in steps, without gradients, and in passes that
    one process does while the other lends it its parts."""
    command = [
        sys.executable,
        "-m",
        "tests.finetune.sharding_child",
        str(tmp_path / "store"),
        str(deep_base_folder),
    ]
    started = [
        subprocess.Popen(
            [*command, str(rank), str(PROCESSES)], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        for rank in range(PROCESSES)
    ]
    for process in started:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        cases = json.loads(said)
        assert len(cases) == 5
        assert all(len(case) == 10 for case in cases.values())
        assert not [
            (case, fact) for case, facts in cases.items() for fact, holds in facts.items() if not holds
        ]

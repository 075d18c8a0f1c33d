"""A base cut over processes computes what a whole one does, to the last bit, and takes less memory.

A whole run with one is in test_processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.finetune.conftest import free_port

CASES, FACTS = 4, 7  # of sharding_child


def test_a_sharded_base_computes_the_same_bits(deep_base_folder: Path, tmp_path: Path) -> None:
    """In float32 and packed, LoRA and DoRA, kept and computed again, in steps, without gradients, and in passes that
    one process does while the other lends it its parts; and it holds its part and two blocks."""
    words = [str(free_port()), deep_base_folder, tmp_path]
    command = [sys.executable, "-m", "tests.finetune.sharding_child", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        cases = json.loads((tmp_path / f"{rank}.json").read_text())
        assert [len(facts) for facts in cases.values()] == [FACTS] * CASES
        assert not [(case, fact) for case, facts in cases.items() for fact in facts if not facts[fact]]

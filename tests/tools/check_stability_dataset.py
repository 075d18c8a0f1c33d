"""Whether the dataset code of Stability's trainer reads the clips and captions of a dataset folder.

    python -m tests.tools.check_stability_dataset CHECKOUT DATASET [--seconds 20]

CHECKOUT is a checkout of Stability-AI/stable-audio-3. Its `SampleDataset` is given DATASET/train and the caption reader
of its `train_lora.py`; soundfile reads files in the place of torchaudio, nothing else is replaced. Every clip must come
with its caption, at its length, sample for sample but for their random polarity.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import soundfile
import torch

from data_prep.dataset import clips

RATE = 44_100


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.check_stability_dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkout", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a training example")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.checkout))
    stand_in_for_torchaudio()
    from stable_audio_3.data.dataset import LocalDatasetConfig, SampleDataset

    caption = caption_reader(arguments.checkout / "scripts" / "train_lora.py")
    folder = arguments.dataset / "train"
    config = LocalDatasetConfig(id="train", path=str(folder), custom_metadata_fn=caption)
    dataset = SampleDataset(
        [config], sample_size=round(arguments.seconds * RATE), sample_rate=RATE, random_crop=False
    )
    wanted = {clip.path.name: clip for clip in clips(arguments.dataset, "train")}
    found = {Path(name).name: index for index, name in enumerate(dataset.filenames)}
    wrong = sorted(wanted.keys() ^ found.keys())
    for name in sorted(wanted.keys() & found.keys()):
        audio, info = dataset[found[name]]
        if (
            Path(info["path"]).name != name
            or info["prompt"] != wanted[name].text.strip()
            or not same(audio, folder / name)
        ):
            wrong.append(name)
    print(f"{len(wanted) - len(wrong)} of {len(wanted)} clips as they are")
    if wrong:
        sys.exit(f"not so: {', '.join(wrong)}")


def stand_in_for_torchaudio() -> None:
    """Its wheels for Linux need CUDA; of it, only the reading of a file is used."""
    module, transforms = ModuleType("torchaudio"), ModuleType("torchaudio.transforms")
    module.load = _load  # type: ignore[attr-defined]
    module.transforms = transforms  # type: ignore[attr-defined]
    transforms.Resample = None  # type: ignore[attr-defined]  # clips have the model's rate
    sys.modules |= {"torchaudio": module, "torchaudio.transforms": transforms}


def _load(name: str, format: str | None = None) -> tuple[torch.Tensor, int]:
    samples, rate = soundfile.read(name, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


def caption_reader(script: Path) -> Any:
    """Their function alone, without the imports of the whole script."""
    tree = ast.parse(script.read_text("utf-8"))
    tree.body = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "caption_metadata_fn"
    ]
    names: dict[str, Any] = {"Path": Path}
    exec(compile(tree, str(script), "exec"), names)
    return names["caption_metadata_fn"]


def same(audio: torch.Tensor, path: Path) -> bool:
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    heard = torch.from_numpy(samples.T)[:, : audio.shape[1]]
    ours = audio[:, : heard.shape[1]]
    return (
        bool(torch.equal(ours, heard) or torch.equal(ours, -heard)) and not audio[:, heard.shape[1] :].any()
    )


if __name__ == "__main__":
    main()

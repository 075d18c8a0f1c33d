"""How much of a clip is trained at once, and from where: anywhere, from bar line to bar line, or all of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from finetune.base_model import BaseModel
from finetune.latents import EncodedClip
from finetune.recipe import DataGroup


@dataclass(frozen=True)
class Crops:
    """What `data.crop` makes of clips that are longer than `most` frames; `frames_per_second` is the base's.

    `bars`: as many whole bars as fit, from a bar line, which is heard from the beginning of its frame. Where the bars
    are not known it is as `random`.
    """

    kind: Literal["random", "bars", "whole"]
    most: int
    frames_per_second: float

    def frames(self, clip: EncodedClip) -> int:
        """How many frames of the clip are trained at once."""
        if self.kind == "whole" or clip.frames <= self.most:
            return clip.frames
        bars = clip.clip.bars
        if self.kind == "random" or bars is None:
            return self.most
        length = bars.length * self.frames_per_second
        return math.ceil(round(max(1, self.most // length) * length, 6)) if length <= self.most else self.most

    def starts(self, clip: EncodedClip) -> Sequence[int]:
        """The frames that a crop of this clip may begin at."""
        everywhere = range(clip.frames - self.frames(clip) + 1)
        if self.kind != "bars" or clip.clip.bars is None:
            return everywhere
        lines = clip.clip.bars.lines(clip.clip.seconds)
        on_bars = {math.floor(round(line * self.frames_per_second, 6)) for line in lines}
        return [start for start in everywhere if start in on_bars] or everywhere


def make_crops(base: BaseModel, group: DataGroup) -> Crops:
    frames_per_second = base.sample_rate / base.samples_per_latent
    return Crops(group.crop, base.seconds_to_frames(group.crop_seconds), frames_per_second)

"""One object of a model_config.json, read entry by entry, with a sentence for what is missing or unknown."""

from __future__ import annotations

import math
from typing import Any

from finetune.errors import WoodshedError


class Section:
    """One object of the configuration, read key by key; what nobody read is unknown, and refused by `close`."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise WoodshedError(f"base.model: model_config.json has no '{where}', or it is no object.")
        self.values, self.where, self.seen = values, where, set[str]()

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        value = self.values.get(key)
        return default if value is None else value

    def section(self, key: str) -> Section:
        self.seen.add(key)
        return Section(self.values.get(key), f"{self.where}.{key}")

    def optional(self, key: str) -> Section:
        return Section(self.get(key, {}), f"{self.where}.{key}")

    def count(self, key: str, default: int | None = None) -> int:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(key, value, "a whole number from 1")
        return value

    def number(self, key: str, default: float) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, value, "a number")
        return float(value)

    def fixed(self, key: str, default: Any, *known: Any) -> Any:
        """The value, which must be one of `known`; `default` is what Stability's code takes when there is none."""
        value = self.get(key, default)
        if value not in known:
            raise self.wrong(key, value, " or ".join(map(repr, known)))
        return value

    def off(self, *keys: str) -> None:
        """Switches of mechanisms that no Stable Audio 3 has: absent, null, false, 0 or empty."""
        for key in keys:
            if value := self.get(key):
                raise self.wrong(key, value, "off")

    def close(self) -> None:
        if unknown := sorted(set(self.values) - self.seen):
            raise WoodshedError(
                f"base.model: model_config.json has '{self.where}.{unknown[0]}' = {self.values[unknown[0]]!r}, which "
                "no Stable Audio 3 that Woodshed knows has."
            )

    def wrong(self, key: str, value: Any, known: str) -> WoodshedError:
        return WoodshedError(
            f"base.model: model_config.json has '{self.where}.{key}' = {value!r}; the Stable Audio 3 that Woodshed "
            f"computes has {known} there."
        )

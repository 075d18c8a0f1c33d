"""Where a run writes what happens: log.jsonl always, Weights & Biases when the recipe says so."""

from finetune.tracking.log import Row, read_log, rows_until, tracking

__all__ = ["Row", "read_log", "rows_until", "tracking"]

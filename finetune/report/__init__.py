"""The listening page of a run: what an evaluation found and its sounds, in one file that fetches nothing.

from finetune.report import write_report
page = write_report(Path("runs/mykit"))     # of what `woodshed evaluate` wrote; WoodshedError where it has not
"""

from finetune.report.page import write_report

__all__ = ["write_report"]

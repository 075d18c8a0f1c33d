"""The one YAML file that says everything about a run: typed, strict, complete."""

from finetune.recipe.reading import build_recipe, load_recipe, override_entries
from finetune.recipe.tree import (
    AdapterGroup,
    BaseGroup,
    DataGroup,
    EvaluationGroup,
    OptimizerGroup,
    OutputGroup,
    Recipe,
    SamplesGroup,
    TrackingGroup,
    TrainingGroup,
    ValidationGroup,
    differing_keys,
    options,
    to_yaml,
    values,
)

__all__ = [
    "AdapterGroup",
    "BaseGroup",
    "DataGroup",
    "EvaluationGroup",
    "OptimizerGroup",
    "OutputGroup",
    "Recipe",
    "SamplesGroup",
    "TrackingGroup",
    "TrainingGroup",
    "ValidationGroup",
    "build_recipe",
    "differing_keys",
    "load_recipe",
    "options",
    "override_entries",
    "to_yaml",
    "values",
]

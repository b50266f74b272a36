"""``finetune-tabpfn export``: a fitted estimator as a checkpoint for plain TabPFN."""

from __future__ import annotations

import argparse

from finetune_tabpfn._estimators import ESTIMATORS
from finetune_tabpfn.cli._options import answer, hold_out_scores
from finetune_tabpfn.models._export import describe, load_fitted, save_model


def run(arguments: argparse.Namespace) -> None:
    """Write the checkpoint and say what it is."""
    estimator = load_fitted(arguments.model)
    if not issubclass(type(estimator), tuple(ESTIMATORS.values())):
        raise ValueError(f"{arguments.model} is not an estimator of this package.")
    path = save_model(estimator, arguments.out)
    made = {**describe(estimator), "path": path}
    plain = "TabPFNClassifier" if hasattr(estimator, "classes_") else "TabPFNRegressor"
    answer(
        arguments,
        f"base model {estimator.base_model_.name}, licence {estimator.base_model_.licence}\n"
        f"{hold_out_scores(estimator)}\n"
        f"saved {path}; {plain}(model_path={str(path)!r}) uses it",
        made,
    )

"""Predictions of several fitted TabPFN regressors as those of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from finetune_tabpfn._tabpfn.network import TabPFN

DECILES = [q / 10 for q in range(1, 10)]


def predict_mixture(
    predictors: Sequence[TabPFN], X: Any, output_type: str, quantiles: list[float] | None
) -> Any:
    """Predict with the mean of the distributions of regressors that were fitted to one target.

    Parameters
    ----------
    predictors : sequence of TabPFNRegressor
        With the same borders of buckets, as those of one base model and one target have.
    X : DataFrame or ndarray of shape (n_rows, n_features)
    output_type, quantiles
        As in ``TabPFNRegressor.predict``.
    """
    if len(predictors) == 1:
        return predictors[0].predict(X, output_type=output_type, quantiles=quantiles)
    outputs = [predictor.predict(X, output_type="full") for predictor in predictors]
    distribution = outputs[0]["criterion"]
    shares = torch.stack([output["logits"].float().softmax(-1) for output in outputs])
    logits = shares.mean(0).clamp(min=1e-30).log()

    def numbers(values: torch.Tensor) -> Any:
        return values.cpu().numpy()

    asked = DECILES if quantiles is None else quantiles
    makers: dict[str, Any] = {
        "mean": lambda: numbers(distribution.mean(logits)),
        "median": lambda: numbers(distribution.median(logits)),
        "mode": lambda: numbers(distribution.mode(logits)),
        "quantiles": lambda: [numbers(distribution.icdf(logits, q)) for q in asked],
    }
    if output_type in makers:
        return makers[output_type]()
    everything = {name: make() for name, make in makers.items()}
    if output_type == "main":
        return everything
    return everything | {"criterion": distribution, "logits": logits}

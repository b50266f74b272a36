"""Predictions of a fitted TabPFN regressor, the same for a row alone as beside others."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from tabpfn.regressor import _logits_to_output

from finetune_tabpfn._tabpfn._network import TabPFN, on_its_own
from finetune_tabpfn.utils._constraints import is_number

DECILES = [q / 10 for q in range(1, 10)]
NUMBERS = ("mean", "median", "mode")
OUTPUT_TYPES = (*NUMBERS, "quantiles", "main", "full")


def n_fitted_rows(predictor: TabPFN) -> int:
    """Return how many rows an estimator was fitted to."""
    return int(predictor.n_train_samples_)


@on_its_own()
def embed(predictor: TabPFN, X: Any) -> npt.NDArray[Any]:
    """Return what a network makes of rows, shape (members, n_rows, width)."""
    embedded = np.asarray(predictor.get_embeddings(X))
    return embedded.reshape(-1, len(X), embedded.shape[-1])


@on_its_own()
def predict_target(
    predictor: TabPFN, X: Any, output_type: str, quantiles: list[float] | None
) -> Any:
    """Predict a real-valued target.

    The arithmetic on the distributions is done in float64: what a row's prediction is then
    does not depend, beyond the network's own rounding, on the rows beside it.

    Parameters
    ----------
    predictor : TabPFNRegressor
    X : DataFrame or ndarray of shape (n_rows, n_features)
    output_type, quantiles
        As in ``TabPFNRegressor.predict``.
    """
    asked = DECILES if quantiles is None else list(quantiles)
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"output_type={output_type!r} must be one of {', '.join(OUTPUT_TYPES)}.")
    if not all(is_number(quantile) and 0 <= quantile <= 1 for quantile in asked):
        raise ValueError(f"quantiles={asked!r} must be numbers from 0 to 1.")
    if quantiles is not None and output_type in NUMBERS:
        raise ValueError(
            f"quantiles={asked!r} are of no use to output_type={output_type!r}; "
            'output_type="quantiles" returns them.'
        )
    asked = [float(quantile) for quantile in asked]
    if predictor.is_constant_target_:
        return predictor.predict(X, output_type=output_type, quantiles=asked)
    output = predictor.predict(X, output_type="full", quantiles=[])
    logits = output["logits"].cpu().double().softmax(-1).clamp(min=1e-300).log()
    decode = partial(
        _logits_to_output,
        logits=logits,
        znorm_space_bardist=copy.deepcopy(predictor.znorm_space_bardist_).cpu().double(),
        y_mean=predictor.y_train_mean_,
        y_std=predictor.y_train_std_,
        quantiles=asked,
    )
    if output_type in (*NUMBERS, "quantiles"):
        return decode(output_type=output_type)
    everything: dict[str, Any] = {
        name: decode(output_type=name) for name in (*NUMBERS, "quantiles")
    }
    if output_type == "main":
        return everything
    return everything | {"criterion": output["criterion"], "logits": logits.float()}

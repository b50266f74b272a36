"""Settings of the forecaster, each by a name of its own, also by those that other libraries use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune_tabpfn._nested import NESTED, assemble, flat
from finetune_tabpfn.forecasting._forecaster import NOT_OF_FORECASTS, FinetunedTabPFNForecaster

# what other libraries call them (AutoGluon, Chronos, darts, neuralforecast, peft)
USUAL_NAMES = {
    "horizon": "prediction_length",
    "h": "prediction_length",
    "output_chunk_length": "prediction_length",
    "input_chunk_length": "context_length",
    "input_size": "context_length",
    "timestamp_column": "time_column",
    "item_id": "id_column",
    "known_covariates_names": "covariates",
    "known_covariates": "covariates",
    "future_covariates": "covariates",
    "past_covariates_names": "past_covariates",
    "lora_r": "lora_rank",
    "fine_tune_lr": "learning_rate",
    "fine_tune_steps": "max_steps",
    "seed": "random_state",
}
# the parameters that it has beside the settings of the estimators, each by a name of its own
SETTINGS_OF_FORECASTS = [
    name
    for name in [*flat(FinetunedTabPFNForecaster().get_params(deep=False)), *NESTED]
    if name not in NOT_OF_FORECASTS
]


def own_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by the names that they have here.

    Parameters
    ----------
    settings : mapping
        Some of them, maybe, by a name of `USUAL_NAMES`.

    Raises
    ------
    ValueError
        For a setting that is given by two names.
    """
    found: dict[str, Any] = {}
    for given, value in settings.items():
        name = USUAL_NAMES.get(given, given)
        if name in found:
            raise ValueError(
                f"{given}={value!r} and {name}={found[name]!r} say the same; leave one of them out."
            )
        found[name] = value
    return found


def new_forecaster(settings: Mapping[str, Any]) -> FinetunedTabPFNForecaster:
    """Return a forecaster from settings that each have a name of their own, as in a file.

    Parameters
    ----------
    settings : mapping
        Parameters of the forecaster, and of what nests in them under the names that forecasters
        use: `context_length`, `prediction_length`, `lora_rank`, `lora_alpha`, `lora_dropout` (with
        ``tuning="lora"``), `warmup_steps`, `weight_decay`, ... Names of other libraries, such as
        `lora_r` or `fine_tune_lr`, are read too (docs/forecasting.md has the list).

    Returns
    -------
    FinetunedTabPFNForecaster

    Examples
    --------
    >>> from finetune_tabpfn.forecasting import new_forecaster
    >>> settings = {"prediction_length": 12, "tuning": "lora", "lora_r": 4, "warmup_steps": 10}
    >>> model = new_forecaster(settings)
    >>> model.tuning.rank, model.training
    (4, {'warmup_steps': 10})
    """
    return FinetunedTabPFNForecaster(**assemble(own_names(settings), FinetunedTabPFNForecaster))

"""Fine-tuned TabPFN as a model of AutoGluon."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from autogluon.core.metrics import compute_metric, get_metric
from autogluon.tabular.models.abstract.abstract_torch_model import AbstractTorchModel

from finetune_tabpfn._estimates import estimate_memory
from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn.automl._threads import threads

OWN_SCORES = ("log_loss", "root_mean_squared_error")  # what the estimators stop by in any case
LEAST_SECONDS = 0.1  # what AutoGluon has no time for at all it does not begin


class FinetunedTabPFNModel(AbstractTorchModel):
    """Fine-tuned TabPFN as a model of AutoGluon, beside its others and in its ensembles.

    Its hyperparameters are the parameters of the estimators, by the names that files and studies
    have for them (``max_steps``, ``base_model``, ``ema_decay``, ``lora_rank``). AutoGluon's
    validation rows are validated on and never become context; its time limit, threads and GPUs are
    those of the fit. Refitted on all rows, it makes as many steps as were best, and none where the
    base model was. Training stops by the log-loss of classes, unless ``ag.stopping_metric`` says
    otherwise, and by the metric of a regression.

    Examples
    --------
    >>> from autogluon.tabular import TabularPredictor  # doctest: +SKIP
    >>> from finetune_tabpfn.automl import FinetunedTabPFNModel  # doctest: +SKIP
    >>> predictor = TabularPredictor("target").fit(  # doctest: +SKIP
    ...     table, hyperparameters={FinetunedTabPFNModel: {"max_steps": 200}, "GBM": {}, "RF": {}}
    ... )
    """

    ag_key = "FT_TABPFN"
    ag_name = "FinetunedTabPFN"
    ag_priority = 20  # after trees, which take seconds, so that these are there in any case
    seed_name = "random_state"
    default_num_gpus = 1
    default_resources_physical_cores_only = True
    _supported_problem_types: ClassVar[list[str]] = ["binary", "multiclass", "regression"]
    # the rows of a fold are predicted after its fit, in its time, which AutoGluon does not count
    # beforehand: 0.2 of it are kept by AutoGluon, and another 0.2 here
    _default_auxiliary_params_extra: ClassVar[dict[str, Any]] = {"max_time_limit_ratio": 0.8}
    # one network in this process, instead of one for every worker
    _default_ag_args_ensemble_extra: ClassVar[dict[str, Any]] = {
        "fold_fitting_strategy": "sequential_local"
    }

    def _fit(
        self,
        X: pd.DataFrame,
        y: pd.Series,
        X_val: pd.DataFrame | None = None,
        y_val: pd.Series | None = None,
        time_limit: float | None = None,
        sample_weight: pd.Series | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
        **kwargs: Any,
    ) -> None:
        """Fine-tune; the arguments are those of AutoGluon."""
        began = time.monotonic()
        X = self.preprocess(X, y=y, is_train=True)
        if X_val is not None and y_val is not None:
            known = y_val.isin(y.unique()) if self._classifies else slice(None)
            X_val, y_val = self.preprocess(X_val)[known], y_val[known]
        parameters = {
            "scoring": self._scoring(),
            "device": self._resolve_fit_device(num_gpus),
            **self._get_model_params(),
        }
        if time_limit is not None:
            left = max(LEAST_SECONDS, time_limit - (time.monotonic() - began))
            parameters["time_limit"] = min(left, parameters.get("time_limit") or left)
        self.model = new_estimator(
            "classification" if self._classifies else "regression", parameters
        )
        with threads(num_cpus):
            self.model.fit(X, y, sample_weight=sample_weight, X_val=X_val, y_val=y_val)
        self._note_for_refit()

    def _note_for_refit(self) -> None:
        """Note what a fit to all rows repeats: it has none to validate on."""
        fitted = self.model.deployed_weights_ != "base"
        self.params_trained |= {
            "max_steps": int(self.model.best_step_) if fitted else 0,
            "validation": None,
            "n_folds": 1,
        }
        if self.model.learning_rate == "auto" and np.isfinite(self.model.learning_rate_):
            self.params_trained["learning_rate"] = float(self.model.learning_rate_)

    def _predict_proba(self, X: pd.DataFrame, **kwargs: Any) -> npt.NDArray[np.floating[Any]]:
        X = self.preprocess(X, **kwargs)
        if not self._classifies:
            return self.model.predict(X)
        # the training rows of a fold may lack a class
        proba = np.zeros((len(X), self.num_classes))
        proba[:, self.model.classes_] = self.model.predict_proba(X)
        return self._convert_proba_to_unified_form(proba)

    def _scoring(self) -> StoppingScore | None:
        """Return what training stops by: the estimators know of classes without rows themselves."""
        if self.stopping_metric.name in OWN_SCORES:
            return None
        return StoppingScore(self.problem_type, self.stopping_metric)

    @property
    def _classifies(self) -> bool:
        return self.problem_type != "regression"

    def _get_default_stopping_metric(self) -> Any:
        """Return what training stops by: which class is right is too coarse to."""
        if self._classifies:
            return get_metric("log_loss", self.problem_type, "stopping_metric")
        return self.eval_metric

    @classmethod
    def _estimate_memory_usage_static(
        cls,
        *,
        X: pd.DataFrame,
        hyperparameters: dict[str, Any] | None = None,
        problem_type: str | None = None,
        num_classes: int | None = None,
        device: str = "cpu",
        **kwargs: Any,
    ) -> int:
        """Estimate the bytes of a fit; AutoGluon skips what the machine has no memory for."""
        classes = num_classes or 2 if problem_type != "regression" else 0
        parameters = {"device": device, **(hyperparameters or {})}
        return estimate_memory(len(X), X.shape[1], classes, **parameters)

    @classmethod
    def _estimate_gpu_memory_usage_static(cls, **given: Any) -> int:
        """Estimate the bytes of a GPU that a fit takes."""
        return cls._estimate_memory_usage_static(**given, device="cuda")

    def get_device(self) -> str:
        """Return the kind of device that the fitted network is on."""
        return self.model.predictor_.devices_[0].type

    @classmethod
    def _class_tags(cls) -> dict[str, Any]:
        # a pickle of the estimator holds its weights on the CPU, and finds the device when loaded
        return {
            "can_set_device": False,
            "set_device_on_save_to": None,
            "set_device_on_load": False,
        }

    def _more_tags(self) -> dict[str, Any]:
        return {"can_refit_full": True}


@dataclass(frozen=True)
class StoppingScore:
    """A metric of AutoGluon as scikit-learn calls a scorer.

    Parameters
    ----------
    problem_type : {"binary", "multiclass", "regression"}
    metric : Scorer
        Of AutoGluon, greater is better.
    """

    problem_type: str
    metric: Any

    def __call__(
        self, estimator: Any, X: Any, y: npt.NDArray[Any], sample_weight: Any = None
    ) -> float:
        """Return the score of the estimator's predictions."""
        proba = None
        if hasattr(estimator, "predict_proba"):
            proba = estimator.predict_proba(X)
            proba = proba[:, 1] if self.problem_type == "binary" else proba
        return compute_metric(
            y=y,
            y_pred=estimator.predict(X),
            y_pred_proba=proba,
            metric=self.metric,
            weights=sample_weight,
        )

    @property
    def __name__(self) -> str:
        """What the score is called."""
        return str(self.metric.name)

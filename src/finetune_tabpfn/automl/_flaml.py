"""Fine-tuned TabPFN as a learner of FLAML."""

from __future__ import annotations

import math
import os
import time
from typing import Any

from flaml import tune
from flaml.automl.model import SKLearnEstimator

from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.automl._threads import threads
from finetune_tabpfn.studies._search_space import Range, search_space

FEW_STEPS, MANY_STEPS = 20, 500
FIT_SHARE = 0.8  # of the time that is left: FLAML predicts its validation rows in it as well
LEAST_SECONDS = 0.1  # what FLAML begins after its budget deploys the base model


class FinetunedTabPFNEstimator(SKLearnEstimator):
    """Fine-tuned TabPFN as a learner of FLAML.

    Its hyperparameters are the parameters of the estimators, by the names that files and studies
    have for them. The time that FLAML has left and its `n_jobs` are those of every fit; rows are
    held out by the estimator itself, because FLAML hands over none. A subclass that sets
    `base_model` starts from another network.

    Examples
    --------
    >>> from flaml import AutoML  # doctest: +SKIP
    >>> from finetune_tabpfn.automl import FinetunedTabPFNEstimator  # doctest: +SKIP
    >>> automl = AutoML()  # doctest: +SKIP
    >>> automl.add_learner("finetuned_tabpfn", FinetunedTabPFNEstimator)  # doctest: +SKIP
    >>> automl.fit(  # doctest: +SKIP
    ...     X, y, task="classification", time_budget=300,
    ...     estimator_list=["lgbm", "rf", "finetuned_tabpfn"], retrain_full="budget",
    ... )
    """

    base_model = "auto"
    params: dict[str, Any]

    def __init__(self, task: Any = "binary", **config: Any) -> None:
        super().__init__(task, **config)
        self._n_jobs = self.params.pop("n_jobs", None)
        seed = self.params.pop("random_seed", 0)
        self.params = {"base_model": self.base_model, "random_state": seed, **self.params}

    @classmethod
    def search_space(
        cls, data_size: tuple[int, int], task: Any, **params: Any
    ) -> dict[str, dict[str, Any]]:
        """Return the search space of `finetune_tabpfn.studies`, and how many steps to make.

        Parameters
        ----------
        data_size : tuple of int
            Rows and columns.
        task : Task
            Of FLAML.
        **params
            Of FLAML; none is used.
        """
        space = search_space(_kind(task), cls.base_model)
        found = {name: _domain(values) for name, values in space.items()}
        found["max_steps"] = {
            "domain": tune.lograndint(FEW_STEPS, MANY_STEPS + 1),
            "init_value": FEW_STEPS,
            "low_cost_init_value": FEW_STEPS,
        }
        return found

    @classmethod
    def cost_relative2lgbm(cls) -> float:
        """Return what the cheapest fit takes, times that of LightGBM's."""
        return 100

    def fit(
        self,
        X_train: Any,
        y_train: Any,
        budget: float | None = None,
        free_mem_ratio: float = 0,
        **kwargs: Any,
    ) -> float:
        """Fine-tune in the time that is left and return what it took; the arguments are FLAML's."""
        began = time.monotonic()
        limit = self.params.get("time_limit")
        if budget is not None:
            left = max(FIT_SHARE * budget, LEAST_SECONDS)
            limit = min(left, limit or left)
        settings = {**self.params, "time_limit": limit}
        model = new_estimator(_kind(self._task), settings)
        rows = {name: kwargs.get(name) for name in ("sample_weight", "groups")}
        with threads(_number(self._n_jobs)):
            self._model = model.fit(X_train, y_train, **rows)
        return time.monotonic() - began

    def _preprocess(self, X: Any) -> Any:
        """Leave categories as they are: TabPFN reads them."""
        return X


def _kind(task: Any) -> Kind:
    return "classification" if task.is_classification() else "regression"


def _number(n_jobs: int | None) -> int:
    """Return a number of threads; FLAML's -1 are all processors."""
    return n_jobs if n_jobs and n_jobs > 0 else os.cpu_count() or 1


def _domain(values: Any) -> dict[str, Any]:
    """Return a list of values or a `Range` as FLAML describes it; where a search begins, too."""
    if not isinstance(values, Range):
        return {"domain": tune.choice(list(values)), "init_value": values[0]}
    middle = math.sqrt(values.low * values.high)
    return {"domain": tune.loguniform(values.low, values.high), "init_value": middle}

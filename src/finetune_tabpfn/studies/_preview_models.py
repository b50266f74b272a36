"""Two models on the same held-out rows, fitted in the time there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.data._io import split_target
from finetune_tabpfn.data._sampling import batches
from finetune_tabpfn.finetuning._cost import Stopwatch, affordable_rows
from finetune_tabpfn.models._export import load_fitted
from finetune_tabpfn.studies._models import (
    ESTIMATORS,
    FITTED,
    Predictions,
    codes_of,
    features_of,
    fit_base,
)
from finetune_tabpfn.studies._preview_data import PreviewData, sampled

LEAST_SECONDS = 1.0  # that a fit is given; the base model alone is deployed in it
TRIAL_FROM = 1500  # rows; fewer are predicted in any case
LEAST_ROWS = 500  # that a slow machine is given
ROWS_AT_ONCE = 2000  # that are predicted: bounds memory

Question = Literal["fine_tuning", "add_rows"]
Say = Callable[[str], object]


@dataclass(frozen=True)
class Candidate:
    """A model and its answers for the held-out rows; `tuned` is whether it was trained here."""

    name: str
    tuned: bool
    model: Any
    answers: Predictions
    fit_seconds: float
    predict_seconds: float

    @property
    def had_no_time(self) -> bool:
        """Whether the time limit ended the training before its first step."""
        return self.tuned and not self.model.n_steps_ and "time_limit" in self.model.stop_reason_

    def described(self) -> dict[str, Any]:
        """Return where it comes from, as JSON-like data."""
        base = getattr(self.model, "base_model_", None)
        return {
            "name": self.name,
            "base_model": None
            if base is None
            else {"name": base.name, "licence": base.licence, "sha256": base.sha256},
            "steps": self.model.n_steps_ if self.tuned else None,
            "stop_reason": self.model.stop_reason_ if self.tuned else None,
            "deployed_weights": self.model.deployed_weights_ if self.tuned else None,
            "fit_seconds": round(self.fit_seconds, 3),
            "predict_seconds": round(self.predict_seconds, 3),
        }


def rows_that_fit(
    data: PreviewData, target: str, parameters: dict[str, Any], seconds: float
) -> int:
    """Return how many rows can be predicted in some seconds, from trials with growing numbers.

    A slow machine or a large base model would otherwise take the time that the training needs,
    and more: predictions cannot be cut short.
    """
    if data.rows_used < TRIAL_FROM:
        return data.rows_used

    def predict(rows: int) -> None:
        few = sampled(data, target, rows, parameters["random_state"])
        (X, y), (asked, _) = split_target(few.train, target), split_target(few.held_out, target)
        model = fit_base(ESTIMATORS[data.task], parameters["base_model"], X, y, **parameters)
        Predictions.of(model, asked)

    return affordable_rows(predict, LEAST_ROWS, data.rows_used, seconds, Stopwatch())


class ModelPair:
    """Fits the two models in the time there is and asks them about the held-out rows."""

    def __init__(
        self,
        data: PreviewData,
        target: str,
        question: Question,
        parameters: dict[str, Any],
        began: float,
        say: Say,
    ) -> None:
        self.data, self.target, self.question, self.say = data, target, question, say
        self.parameters, self.began = parameters, began
        self.X, self.y = split_target(data.held_out, target)
        self.notes: list[str] = []

    def baseline(self, given: str | Path | None) -> Candidate:
        """Return what the candidate is compared with."""
        table = split_target(self.data.train, self.target)
        if given is not None and Path(given).suffix in FITTED:
            self.notes.append(
                f"{Path(given).name} was fitted before; where it has seen held-out rows, it "
                "seems better than it is."
            )
            return self._ask(f"the fitted model {given}", lambda: load_fitted(given))
        if given is None and self.question == "add_rows":
            limit = self._remaining(0.4)
            # checkpoints of a fit are of one fit: the candidate's
            alone: dict[str, Any] = {"checkpoint": None, "checkpoint_every": 1, "resume": False}
            return self._ask(
                "fine-tuned on the table",
                lambda: self._fine_tune(*table, limit, **alone),
                tuned=True,
            )
        base = self.parameters["base_model"] if given is None else given
        return self._ask(f"base model {base} as it is", lambda: self._base(base, *table))

    def candidate(self, baseline: Candidate) -> Candidate:
        """Return the fine-tuned model in question."""
        parts = [self.data.train, self.data.new]
        rows = pd.concat([part for part in parts if part is not None], ignore_index=True)
        name = "fine-tuned" + (" on the table and the rows" if self.data.new is not None else "")
        # what the baseline's predictions took, these will take as well, by the context's length
        predicting = baseline.predict_seconds * len(rows) / len(self.data.train)
        limit = self._remaining(1.0, keep=1.3 * predicting + 2)
        found = self._ask(
            name, lambda: self._fine_tune(*split_target(rows, self.target), limit), tuned=True
        )
        if "time_limit" in found.model.stop_reason_:
            self.notes.append(
                f"The time limit ended the fine-tuning after {found.model.n_steps_} steps; a full "
                "run may gain more."
            )
        return found

    def aligned(
        self, baseline: Candidate, candidate: Candidate
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the truth and both models' answers, class by class in the candidate's order."""
        if self.data.task == "regression":
            return (
                self.y.to_numpy(dtype=np.float64),
                baseline.answers.values,
                candidate.answers.values,
            )
        classes = candidate.model.classes_
        codes = codes_of(self.y, classes)
        places = codes_of(pd.Series(list(baseline.model.classes_)), classes)
        before = np.zeros_like(candidate.answers.values)
        before[:, places[places >= 0]] = baseline.answers.values[:, places >= 0]
        return codes, before, candidate.answers.values

    def _fine_tune(self, X: pd.DataFrame, y: pd.Series, limit: float | None, **changes: Any) -> Any:
        settings = {**self.parameters, "time_limit": limit, **changes}
        return new_estimator(cast(Kind, self.data.task), settings).fit(X, y)

    def _base(self, base: str | Path, X: pd.DataFrame, y: pd.Series) -> Any:
        return fit_base(ESTIMATORS[self.data.task], base, X, y, **self.parameters)

    def _ask(self, name: str, fit: Callable[[], Any], tuned: bool = False) -> Candidate:
        """Fit a model and let it predict the held-out rows."""
        self.say(f"{name}: fitting")
        started = time.monotonic()
        model = fit()
        fitted = time.monotonic()
        if hasattr(model, "predict_proba") != (self.data.task == "classification"):
            raise ValueError(f"{name} does not predict the {self.data.task} of {self.target!r}.")
        self.say(f"{name}: predicting {len(self.X):,} held-out rows")
        X = features_of(model, self.X, "The table")
        answers = Predictions.joined(
            [Predictions.of(model, X.iloc[rows]) for rows in batches(len(X), ROWS_AT_ONCE)]
        )
        return Candidate(name, tuned, model, answers, fitted - started, time.monotonic() - fitted)

    def _remaining(self, share: float, keep: float = 0.0) -> float | None:
        """Return the seconds that a fit may take."""
        limit = self.parameters["time_limit"]
        if limit is None:
            return None
        left = limit - (time.monotonic() - self.began) - keep
        return max(share * left, LEAST_SECONDS)

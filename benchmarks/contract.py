"""What scikit-learn and AutoML expect of an estimator: ours and tabpfn.finetuning side by side.

    python benchmarks/contract.py

Runs both on small tables with the same base model (mini), on the CPU, and prints a Markdown
table. Takes some minutes on two cores.
"""

import pickle
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
import tabpfn
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris, make_classification
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, cross_validate
from sklearn.utils.estimator_checks import check_estimator
from tabpfn.finetuning import FinetunedTabPFNClassifier as Rival

from finetune_tabpfn import FinetunedTabPFNClassifier as Ours
from finetune_tabpfn.models import _base_models

MINI = str(_base_models.mini("classification").path)
IRIS = load_iris(return_X_y=True)
CANCER = tuple(part[:200] for part in load_breast_cancer(return_X_y=True))


def ours(**parameters: Any) -> Ours:
    """Return our classifier, two short evaluations."""
    quick = {"base_model": "mini", "max_steps": 2, "n_estimators": 2, "device": "cpu"}
    return Ours(**{**quick, **parameters})


def rival(**parameters: Any) -> Rival:
    """Return the rival's classifier, two epochs; model_path is how it takes a base model."""
    quick = {
        "device": "cpu",
        "epochs": 2,
        "n_estimators_final_inference": 2,
        "extra_classifier_kwargs": {"model_path": MINI, "ignore_pretraining_limits": True},
    }
    return Rival(**{**quick, **parameters})


Make = Callable[..., Any]


def leaves_parameters_alone(make: Make) -> bool:
    """Compare the parameters before and after fit."""
    model = make()
    before = repr(sorted(model.get_params().items()))
    model.fit(*IRIS)
    return repr(sorted(model.get_params().items())) == before


def constructs_silently(make: Make) -> bool:
    """Construct and clone with the class's own defaults, warnings being errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(type(make())())
    return True


def keeps_to_its_time_limit(make: Make) -> bool:
    """Fit 3,000 rows within 8 seconds; the promise is 1.05 x limit + 1 s."""
    X, y = make_classification(3000, 20, random_state=0)
    endless: dict[str, Any] = {"max_steps": 10**6, "patience": None}
    if make is not ours:
        endless = {"epochs": 10**6, "early_stopping": False}
    started = time.monotonic()
    make(time_limit=8, **endless).fit(X, y)
    return time.monotonic() - started <= 1.05 * 8 + 1


def refuses(make: Make, **parameters: Any) -> bool:
    """Tell whether parameters lead to an error that names one of them."""
    try:
        make(**parameters).fit(*IRIS)
    except (ValueError, TypeError) as error:
        return any(name in str(error) for name in parameters)
    return False


def holds_one_copy_of_the_weights(make: Make) -> bool:
    """Compare a pickle with the weights in memory."""
    fitted = make().fit(*IRIS)
    weights = sum(p.numel() * p.element_size() for p in _network(fitted).parameters())
    return len(pickle.dumps(fitted)) < 1.5 * weights


def refuses_half_a_validation_set(make: Make) -> bool:
    """Pass validation rows without their targets."""
    try:
        make().fit(*IRIS, X_val=IRIS[0][:10])
    except (ValueError, TypeError) as error:
        return "y_val" in str(error)
    return False


def _network(fitted: Any) -> Any:
    if hasattr(fitted, "predictor_"):
        return fitted.predictor_.model_
    return fitted.finetuned_inference_classifier_.model_


def is_stratified(make: Make) -> bool:
    """Cross-validate on rows that are sorted by class: unstratified folds lack classes."""
    X, y = IRIS
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    return bool(cross_val_score(make(), X, names, cv=3, error_score="raise").mean() > 0.8)


def takes_sample_weights(make: Make) -> bool:
    """Pass weights by keyword."""
    make().fit(*IRIS, sample_weight=np.ones(150))
    return True


def is_routed(make: Make) -> bool:
    """Send weights through a cross-validation by scikit-learn's metadata routing."""
    with sklearn.config_context(enable_metadata_routing=True):
        model = make().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        weights = {"sample_weight": np.ones(150)}
        cross_validate(model, *IRIS, cv=2, params=weights, error_score="raise")
    return True


def passes_scikit_learns_checks(make: Make) -> str:
    """Count scikit-learn's own checks of an estimator."""
    results = check_estimator(make(), on_fail=None, on_skip=None)
    passed = sum(result["status"] == "passed" for result in results)
    failed = sum(result["status"] == "failed" for result in results)
    return f"{passed} passed, {failed} failed"


def tells_its_history(make: Make) -> bool:
    """Look for a record of the evaluations on the fitted estimator."""
    return len(make().fit(*IRIS).history_) > 1


def deploys_finite_weights_after_an_absurd_rate(make: Make) -> bool:
    """Train at a learning rate of 0.9, without clipping."""
    free: dict[str, Any] = {"training": {"max_grad_norm": None}}
    if make is not ours:
        free = {"grad_clip_value": None}
    model = make(learning_rate=0.9, **free).fit(*IRIS)
    return bool(np.isfinite(model.predict_proba(IRIS[0])).all())


CHECKS: dict[str, Callable[[Make], Any]] = {
    "`is_classifier` is true": lambda make: is_classifier(make()),
    "`classes_` after fit": lambda make: len(make().fit(*IRIS).classes_) == 3,
    "construction and `clone` without a warning": constructs_silently,
    "`fit` leaves the parameters alone": leaves_parameters_alone,
    "lists as input": lambda make: make().fit(IRIS[0].tolist(), IRIS[1].tolist()) is not None,
    "`cross_val_score(scoring='roc_auc')`": lambda make: np.isfinite(
        cross_val_score(make(), *CANCER, cv=2, scoring="roc_auc")
    ).all(),
    "cross-validation is stratified": is_stratified,
    "`StackingClassifier`": lambda make: StackingClassifier(
        [("a", make()), ("b", LogisticRegression())], cv=2
    ).fit(*IRIS),
    "`sample_weight`": takes_sample_weights,
    "metadata routing": is_routed,
    "`CalibratedClassifierCV`": lambda make: CalibratedClassifierCV(make(), cv=2).fit(*IRIS),
    "`VotingClassifier`, soft": lambda make: VotingClassifier(
        [("a", make()), ("b", make())], voting="soft"
    ).fit(*IRIS),
    "`time_limit` bounds the whole fit": keeps_to_its_time_limit,
    "a negative `time_limit` is refused": lambda make: refuses(make, time_limit=-5),
    "`X_val` without `y_val` is refused": refuses_half_a_validation_set,
    "finite predictions after a learning rate of 0.9": deploys_finite_weights_after_an_absurd_rate,
    "a record of the evaluations": tells_its_history,
    "a pickle holds one copy of the weights": holds_one_copy_of_the_weights,
    "`check_estimator`": passes_scikit_learns_checks,
}


def verdict(check: Callable[[Make], Any], make: Make) -> str:
    """Return "yes", "no", or the error that came instead."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = check(make)
            return answer if isinstance(answer, str) else "no" if answer is False else "yes"
    except Exception as error:  # whatever the estimator answers is the finding
        return f"no ({type(error).__name__})"


def main() -> None:
    """Print the table."""
    print(f"| | finetune-tabpfn | tabpfn.finetuning {tabpfn.__version__} |\n|---|---|---|")
    for name, check in CHECKS.items():
        print(f"| {name} | {verdict(check, ours)} | {verdict(check, rival)} |", flush=True)


if __name__ == "__main__":
    main()

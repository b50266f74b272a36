"""scikit-learn's own checks of an estimator, and its own tools around ours."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFECV
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor

QUICK = {
    "base_model": "mini",
    "max_steps": 2,
    "eval_interval": 1,
    "n_estimators": 1,
    "random_state": 0,
}
X, Y = make_classification(90, 4, n_informative=3, n_redundant=0, n_classes=3, random_state=0)
NAMES = np.array(["ash", "birch", "cedar"])[Y]
TABLE = pd.DataFrame(X, columns=list("abcd")).assign(site=np.array(["n", "s"])[np.arange(90) % 2])


def classifier(**parameters):
    return FinetunedTabPFNClassifier(**{**QUICK, **parameters})


def regressor(**parameters):
    return FinetunedTabPFNRegressor(**{**QUICK, **parameters})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [classifier(n_estimators=2), regressor(n_estimators=2, precision="fp32")],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": (
            "weights act on the loss and the score; as context a row has no weight, so that "
            "twice the weight is not the row twice"
        )
    },
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_a_pipeline_with_a_column_transformer():
    columns = make_column_transformer((StandardScaler(), list("abcd")), (OneHotEncoder(), ["site"]))
    model = make_pipeline(columns, classifier()).fit(TABLE, NAMES)
    assert set(model.predict(TABLE)) <= {"ash", "birch", "cedar"}
    assert model.score(TABLE, NAMES) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches_in_two_processes(search):
    options = {"random_state": 0, "min_resources": 60} if search is HalvingGridSearchCV else {}
    grid = {"learning_rate": [1e-4, 1e-3]}
    found = search(classifier(), grid, cv=2, n_jobs=2, error_score="raise", **options)
    found.fit(TABLE, NAMES)
    assert found.best_params_["learning_rate"] in grid["learning_rate"]
    assert found.predict_proba(TABLE).shape == (90, 3)


@pytest.mark.slow
def test_cross_validation_stratifies_and_scores_by_probabilities():
    proba = cross_val_predict(classifier(), TABLE, NAMES, cv=3, method="predict_proba")
    assert proba.shape == (90, 3)
    scores = cross_val_score(classifier(), TABLE, NAMES, cv=3, scoring="roc_auc_ovr")
    assert (scores > 0.5).all()


@pytest.mark.slow
def test_stacking():
    parts = [("tabpfn", classifier()), ("linear", LogisticRegression())]
    model = StackingClassifier(parts, cv=2).fit(X, NAMES)
    assert set(model.predict(X)) <= {"ash", "birch", "cedar"}


def test_soft_voting():
    parts = [("tabpfn", classifier()), ("linear", LogisticRegression())]
    model = VotingClassifier(parts, voting="soft").fit(X, NAMES)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-6)


def test_calibration():
    model = CalibratedClassifierCV(classifier(), cv=2).fit(X, NAMES)
    assert model.predict_proba(X).shape == (90, 3)


@pytest.mark.slow
def test_bagging():
    model = BaggingClassifier(classifier(), n_estimators=2, random_state=0).fit(X, NAMES)
    assert set(model.predict(X)) <= {"ash", "birch", "cedar"}


def test_a_transformed_target():
    table, y = load_diabetes(return_X_y=True)
    model = TransformedTargetRegressor(regressor(), func=np.log, inverse_func=np.exp)
    assert model.fit(table[:150], y[:150]).score(table[150:300], y[150:300]) > 0.2


def test_permutation_importance():
    model = classifier().fit(TABLE, NAMES)
    importance = permutation_importance(model, TABLE, NAMES, n_repeats=2, random_state=0)
    assert importance.importances_mean.shape == (5,)
    assert importance.importances_mean[:4].max() > importance.importances_mean[4]


@pytest.mark.slow
def test_recursive_elimination_with_an_importance_of_ones_own():
    def correlation(model):
        inner = model.predictor_
        return np.arange(inner.n_features_in_, 0, -1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen = RFECV(classifier(), cv=2, min_features_to_select=2, importance_getter=correlation)
        chosen.fit(X, NAMES)
    assert chosen.n_features_ >= 2


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array([False, True]),
        np.array([1.0, 2.0]),
        np.array([-1, 7]),
    ],
)
def test_labels_come_back_as_they_came(labels):
    y = labels[(Y > 0).astype(int)]
    model = classifier().fit(X, y)
    assert model.classes_.tolist() == labels.tolist()
    assert model.predict(X).dtype.kind == labels.dtype.kind
    assert set(model.predict(X).tolist()) <= set(labels.tolist())


def test_pandas_categories_as_labels():
    y = pd.Series(NAMES, dtype="category")
    model = classifier().fit(TABLE, y)
    assert model.classes_.tolist() == ["ash", "birch", "cedar"]
    assert model.score(TABLE, y) > 0.4


def test_a_target_that_is_a_column_warns_as_scikit_learn_does():
    with pytest.warns(Warning, match="column-vector y was passed"):
        classifier().fit(X, NAMES[:, None])


def test_repr_shows_what_is_not_default():
    assert "learning_rate=0.001" in repr(classifier(learning_rate=0.001))
    assert "patience" not in repr(classifier())

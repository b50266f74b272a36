"""Weights, groups, ways to validate: what comes with a table beside X and y."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import config_context
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    TimeSeriesSplit,
    cross_validate,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor

QUICK = {
    "base_model": "mini",
    "max_steps": 4,
    "eval_interval": 2,
    "n_estimators": 1,
    "random_state": 0,
}
X, Y = make_classification(200, 5, weights=[0.8], random_state=0)
NAMES = np.array(["no", "yes"])[Y]


def classifier(**parameters):
    return FinetunedTabPFNClassifier(**{**QUICK, **parameters})


def regressor(**parameters):
    return FinetunedTabPFNRegressor(**{**QUICK, **parameters})


class Recorder:
    """Stands in for a scorer and notes the hold-out that it was given, before any resampling."""

    def __call__(self, estimator, X, y, sample_weight=None):
        if not hasattr(self, "X"):
            self.X, self.y, self.weight = X, y, sample_weight
        return -log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)


# --- weights ----------------------------------------------------------------------------------


def test_equal_weights_change_nothing():
    plain = classifier().fit(X, NAMES).predict_proba(X)
    weighted = classifier().fit(X, NAMES, sample_weight=np.full(200, 3.0)).predict_proba(X)
    np.testing.assert_allclose(weighted, plain, atol=1e-5)


@pytest.mark.slow
def test_weights_change_what_is_learned():
    weight = np.where(Y == 1, 50.0, 1.0)
    plain = classifier(max_steps=10, patience=None).fit(X, NAMES)
    weighted = classifier(max_steps=10, patience=None).fit(X, NAMES, sample_weight=weight)
    assert plain.base_score_ != weighted.base_score_  # the score is weighted
    assert plain.history_.train_loss.iloc[-1] != weighted.history_.train_loss.iloc[-1]


def test_a_row_of_weight_zero_is_as_if_it_were_not_there():
    weight = np.ones(200)
    weight[150:] = 0
    without = classifier().fit(X[:150], NAMES[:150]).predict_proba(X)
    zero = classifier().fit(X, NAMES, sample_weight=weight).predict_proba(X)
    np.testing.assert_allclose(zero, without, atol=1e-6)


def test_the_score_is_weighted():
    weight = np.random.default_rng(0).uniform(0.5, 2, size=200)
    seen = Recorder()
    classifier(scoring=seen).fit(X, NAMES, sample_weight=weight)
    rows = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in seen.X]
    np.testing.assert_allclose(seen.weight, weight[rows])


def test_a_scorer_that_takes_no_weights_gets_one_sentence():
    def scorer(estimator, X, y):
        return 0.0

    with pytest.raises(ValueError, match=r"cannot score this hold-out.*sample_weight"):
        classifier(scoring=scorer).fit(X, NAMES, sample_weight=np.ones(200))


def test_a_regressor_takes_weights():
    table, y = make_regression(120, 4, noise=5, random_state=0)
    weight = np.linspace(0.1, 2, 120)
    model = regressor().fit(table, y, sample_weight=weight)
    assert model.base_score_ != regressor().fit(table, y).base_score_


# --- classes ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_costly_class_is_predicted_more_often():
    plain = classifier().fit(X, NAMES)
    costly = classifier(class_weight={"yes": 20.0}).fit(X, NAMES)
    assert (costly.predict(X) == "yes").sum() > (plain.predict(X) == "yes").sum()
    np.testing.assert_allclose(costly.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    assert costly.class_weight_.tolist() == [1.0, 20.0]


LABELS = {
    "whole numbers": (np.array([1, 3]), {3: 5}, [{"3": 5}, {3.0: 5}]),
    "booleans": (np.array([False, True]), {True: 5}, [{"true": 5}, {"True": 5}, {1: 5}]),
    "numbers": (np.array([1.0, 2.0]), {2.0: 5}, [{"2": 5}, {2: 5}, {"2.0": 5}]),
    "text that is a number": (np.array(["01", "1"]), {"1": 5}, [{1: 5}]),
    "text with a zero": (np.array(["1", "01"]), {"01": 5}, []),
}


@pytest.mark.parametrize("kind", LABELS)
def test_weights_find_their_class_by_value_and_else_as_it_is_written(kind):
    labels, keys, others = LABELS[kind]
    y = labels[Y]
    expected = np.where(np.unique(y) == next(iter(keys)), 5, 1)
    for weights in (keys, *others):
        model = classifier(max_steps=0, class_weight=weights).fit(X, y)
        assert model.class_weight_.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"maybe": 2},
            r"class_weight={'maybe': 2}: the key 'maybe' is not a class of y.* 'no', 'yes'",
        ),
        ({"yes": "much"}, "class_weight={'yes': 'much'} must hold positive numbers"),
    ],
)
def test_weights_of_no_class_are_named_with_the_classes(weights, message):
    with pytest.raises(ValueError, match=message):
        classifier(class_weight=weights).fit(X, NAMES)
    with pytest.raises(ValueError, match="the key '1' names one class twice"):
        classifier(class_weight={1: 2, "1": 3}).fit(X, Y)


def test_balanced_weights_move_the_probabilities_by_the_shares():
    model = classifier(class_weight="balanced", max_steps=0).fit(X, NAMES)
    share = (NAMES == "yes").mean()
    odds = model.predictor_.predict_proba(X)
    expected = odds[:, 1] / share / (odds[:, 1] / share + odds[:, 0] / (1 - share))
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], expected, rtol=1e-5)


def test_balanced_contexts_train():
    model = classifier(balanced_contexts=True, max_steps=10).fit(X, NAMES)
    assert model.n_steps_ == 10
    assert np.isfinite(model.predict_proba(X)).all()


# --- what is held out -------------------------------------------------------------------------


def test_groups_are_held_out_whole():
    groups = np.repeat(np.arange(20), 10)
    table = np.column_stack([X, groups])
    seen = Recorder()
    classifier(scoring=seen).fit(table, NAMES, groups=groups)
    held_out = seen.X[:, -1]
    assert 20 <= len(held_out) <= 80
    assert all((held_out == group).sum() == 10 for group in np.unique(held_out))


def test_groups_may_be_text_and_one_group_alone_trains_nothing():
    names = np.array([f"patient {n % 12}" for n in range(200)])
    assert classifier().fit(X, NAMES, groups=names).n_steps_ == 4
    with pytest.warns(UserWarning, match="too few rows"):
        model = classifier().fit(X, NAMES, groups=np.zeros(200))
    assert model.deployed_weights_ == "base"


def test_the_last_rows_are_held_out():
    table = np.column_stack([X, np.arange(200)])
    seen = Recorder()
    classifier(validation=TimeSeriesSplit(2, test_size=10), scoring=seen).fit(table, NAMES)
    assert seen.X[:, -1].tolist() == list(range(180, 190))


@pytest.mark.parametrize("way", [0.3, 20, [1, 2, 3]])
def test_rows_to_validate_on_and_rows_to_hold_out_contradict_each_other(way):
    with pytest.raises(ValueError, match=r"validation=.* holds rows out of X, but X_val is given"):
        classifier(validation=way).fit(X, Y, X_val=X, y_val=Y)


@pytest.mark.slow
def test_rows_are_held_out_by_their_number_or_their_numbers():
    table, last = np.column_stack([X, np.arange(200)]), np.arange(150, 200)
    mask = np.isin(np.arange(200), last)
    for way in (last, mask, last.tolist()):
        seen = Recorder()
        classifier(validation=way, scoring=seen).fit(table, NAMES)
        assert seen.X[:, -1].tolist() == last.tolist()
    seen = Recorder()
    classifier(validation=30, scoring=seen).fit(table, NAMES)
    assert len(seen.X) == 30
    for way, message in (
        ([1, 999], "must name rows to hold out by numbers from 0 to 199"),
        (300, "holds out as many rows as there are"),
        (np.ones(200, bool), "leaves one side of the split empty"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier(validation=way).fit(table, NAMES)


NAMED = pd.DataFrame(X, columns=[f"column {n}" for n in range(X.shape[1])])


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        (X, X[:, :3], "X_val has 3 columns and X has .*; in a Pipeline, transform_input="),
        (
            NAMED,
            NAMED.drop(columns="column 1"),
            "X_val lacks the column 'column 1' of X; in a",
        ),
        (NAMED, NAMED.assign(more=1), "X_val has the column 'more', which X has not; in a Pipe"),
        (NAMED, NAMED[NAMED.columns[::-1]], "X_val has the columns of X in another order"),
        (NAMED, NAMED.assign(**{"column 0": "x"}), "X_val has 'x' in column 'column 0'"),
    ],
)
def test_rows_to_validate_on_have_the_columns_of_the_table(table, rows, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(table, Y, X_val=rows, y_val=Y)


@pytest.mark.parametrize(("table", "rows"), [(X, NAMED), (NAMED, X)])
def test_rows_to_validate_on_with_names_of_columns_and_without(table, rows):
    with pytest.warns(
        UserWarning, match="X_val has .*matched by their place; in a Pipeline"
    ) as caught:
        classifier(max_steps=0).fit(table, Y, X_val=rows, y_val=Y)
    assert {warning.filename for warning in caught} == {__file__}


def test_rows_to_validate_on_go_through_the_steps_of_a_pipeline():
    seen = Recorder()
    rows, labels = X[::4], Y[::4]
    with config_context(enable_metadata_routing=True):
        last = classifier(scoring=seen, max_steps=0).set_fit_request(X_val=True, y_val=True)
        steps = [("scale", StandardScaler()), ("first", PCA(2)), ("last", last)]
        with pytest.raises(ValueError, match="X_val has 5 columns and X has 2; in a Pipeline, tr"):
            Pipeline(steps).fit(X, Y, X_val=rows, y_val=labels)
        Pipeline(steps, transform_input=["X_val"]).fit(X, Y, X_val=rows, y_val=labels)
    np.testing.assert_allclose(seen.X, Pipeline(steps[:2]).fit(X).transform(rows))


def test_validation_may_be_a_share():
    seen = Recorder()
    classifier(validation=0.4, scoring=seen).fit(X, NAMES)
    assert len(seen.y) == pytest.approx(80, abs=2)


@pytest.mark.parametrize(
    ("splitter", "groups", "rows"),
    [
        (KFold(4), None, 50),
        (TimeSeriesSplit(3), None, 50),
        (GroupKFold(5), np.arange(200) // 4, 40),
    ],
)
def test_validation_may_be_a_splitter(splitter, groups, rows):
    seen = Recorder()
    classifier(validation=splitter, scoring=seen).fit(X, NAMES, groups=groups)
    assert len(seen.y) == rows


def test_a_splitter_that_cannot_split_gets_one_sentence():
    with pytest.raises(ValueError, match="cannot split the rows"):
        classifier(validation=KFold(500)).fit(X, NAMES)


def test_a_class_that_only_the_hold_out_has_is_not_scored():
    labels = np.where(np.arange(200) >= 180, "new", NAMES)
    seen = Recorder()
    model = classifier(validation="time", scoring=seen).fit(X, labels)
    assert "new" not in seen.y
    assert model.classes_.tolist() == ["new", "no", "yes"]
    assert model.predict_proba(X).shape == (200, 3)


# --- routing ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_weights_pass_through_a_search_without_routing():
    search = GridSearchCV(classifier(), {"learning_rate": [1e-4, 1e-3]}, cv=2)
    search.fit(X, NAMES, sample_weight=np.ones(200))
    assert set(search.best_estimator_.classes_) == {"no", "yes"}


@pytest.mark.slow
def test_metadata_is_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier().set_fit_request(sample_weight=True, groups=True)
        model.set_score_request(sample_weight=True)
        results = cross_validate(
            model,
            X,
            NAMES,
            cv=GroupKFold(3),
            params={"sample_weight": np.ones(200), "groups": np.arange(200) % 12},
            return_estimator=True,
            error_score="raise",
        )
    assert len(results["estimator"]) == 3

"""Hold-outs by time, with a gap and by group, for the plain estimators and for scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score

from finetune_tabpfn import FinetunedTabPFNRegressor
from finetune_tabpfn.forecasting import TimeSplit


def split(X=10, groups=None, **settings):
    X = np.zeros((X, 1)) if isinstance(X, int) else X
    return [(list(a), list(b)) for a, b in TimeSplit(**settings).split(X, groups=groups)]


def test_what_comes_last_is_tested():
    assert split(10, test_size=0.25) == [([*range(8)], [8, 9])]
    assert split(2, test_size=0.9) == [([0], [1])]


def test_backtests_expand_or_slide_and_leave_a_gap():
    expanding = split(10, test_size=2, n_splits=3, gap=1)
    assert expanding == [([0, 1, 2], [4, 5]), ([*range(5)], [6, 7]), ([*range(7)], [8, 9])]
    sliding = split(10, test_size=2, n_splits=2, max_train_size=3)
    assert sliding == [([3, 4, 5], [6, 7]), ([5, 6, 7], [8, 9])]


def test_a_column_says_when_rows_are_from_and_stamps_stay_together():
    days = pd.DataFrame({"day": pd.to_datetime(["2024-01-03", "2024-01-01", "2024-01-02"] * 2)})
    assert split(days, column="day", test_size=1) == [([1, 2, 4, 5], [0, 3])]
    text = days.astype(str)
    assert split(text, column="day", test_size=1) == [([1, 2, 4, 5], [0, 3])]
    assert split(np.array([[3.0], [1.0], [2.0]]), column=0, test_size=1) == [([1, 2], [0])]


def test_a_gap_may_be_a_span_of_time():
    days = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=10, freq="2D")})
    assert split(days, column="day", test_size=1, gap="4D") == [([*range(7)], [9])]
    assert split(days, column="day", test_size=1, gap="5D") == [([*range(7)], [9])]
    assert split(days, column="day", test_size=1, gap="3D") == [([*range(8)], [9])]


def test_no_group_is_on_both_sides():
    groups = list("aabbbccaca")
    assert split(10, groups, test_size=3) == [([2, 3, 4], [7, 8, 9])]
    assert split(10, groups, test_size=3, gap=3) == [([2, 3], [7, 8, 9])]
    with pytest.raises(ValueError, match="every group has rows among the last ones"):
        split(4, list("abab"), test_size=2)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"test_size": 10}, "leave none of the 10 distinct moments to train on"),
        ({"gap": 9}, "gap=9 leave none"),
        ({"n_splits": 6}, "6 test"),
        ({"column": "day"}, "column='day' is not a column of X"),
        ({"gap": "7D"}, "gap='7D' is a span of time; name the column of dates"),
        ({"gap": "often"}, "gap='often' must be a number of moments or a span"),
        ({"gap": -1}, "gap=-1 must not be negative"),
        ({"test_size": 1.5}, "test_size=1.5 must be a share"),
        ({"n_splits": 0}, "n_splits=0 must be a whole number"),
    ],
)
def test_what_cannot_be_split_gets_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        split(10, **settings)


def test_a_column_of_moments_holds_dates_or_numbers():
    table = pd.DataFrame({"day": ["soon", "late", "never"], "at": [1.0, np.nan, 2.0]})
    with pytest.raises(ValueError, match="holds text; it must hold dates or numbers"):
        split(table, column="day")
    with pytest.raises(ValueError, match="'at' is missing in 1 rows"):
        split(table, column="at")
    with pytest.raises(ValueError, match="holds numbers; give a number of distinct moments"):
        split(table.assign(at=1.0), column="at", gap="7D")


def test_it_is_a_cv_of_scikit_learn():
    X = np.arange(40.0)[:, None]
    scores = cross_val_score(LinearRegression(), X, X[:, 0], cv=TimeSplit(n_splits=3, test_size=5))
    assert scores == pytest.approx([1, 1, 1])


@pytest.fixture(scope="module")
def dated():
    rng = np.random.default_rng(0)
    day = pd.date_range("2024-01-01", periods=120, freq="D")
    X = pd.DataFrame({"day": day, "x": rng.normal(size=120)}).sample(frac=1, random_state=0)
    return X, X["x"].to_numpy() + 0.1 * rng.normal(size=120)


@pytest.mark.parametrize("n_folds", [1, 2])
def test_an_estimator_validates_by_time_with_a_gap(dated, n_folds):
    X, y = dated
    seen = []

    def score(estimator, X_val, y_val):
        if len(X_val) == 10 and X_val["day"].is_unique:  # not the rows of both, nor resamples
            seen.append(X_val["day"])
        return -float(np.mean((estimator.predict(X_val) - y_val) ** 2))

    model = FinetunedTabPFNRegressor(
        base_model="mini",
        max_steps=2,
        random_state=0,
        n_folds=n_folds,
        scoring=score,
        validation=TimeSplit("day", test_size=10, gap="5D", n_splits=2),
    )
    clone(model).fit(X, y)
    last = X["day"].max()
    assert {day.min() for day in seen} == {
        last - pd.Timedelta(days=10 * fold - 1) for fold in ([1] if n_folds == 1 else [1, 2])
    }


@pytest.mark.slow
def test_dates_and_a_random_hold_out_warn_once_unless_random_is_meant(dated):
    X, y = dated
    quick = {"base_model": "mini", "max_steps": 1, "random_state": 0}
    with pytest.warns(UserWarning, match="'day' holds dates and validation='random'"):
        FinetunedTabPFNRegressor(**quick).fit(X, y)
    for meant in (0.2, "time", TimeSplit("day")):
        FinetunedTabPFNRegressor(**quick, validation=meant).fit(X, y)
    FinetunedTabPFNRegressor(**quick).fit(X, y, X_val=X, y_val=y)

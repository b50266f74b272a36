"""Tables from parameters: each parameter does what it says."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, r2_score

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.synthetic import make_table

QUICK = {"base_model": "mini", "max_steps": 2, "n_estimators": 1, "random_state": 0}


def as_numbers(X):
    codes = X.select_dtypes("category").apply(lambda column: column.cat.codes)
    dates = X.select_dtypes("datetime").apply(lambda column: column.astype("int64"))
    return X.assign(**codes, **dates).astype(float)


def skill(X, y, train, test):
    """R² or accuracy on the rows `test` of boosted trees fitted on the rows `train`."""
    regression = y.dtype.kind == "f"
    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    model = kind(max_iter=80).fit(as_numbers(X)[train], y[train])
    score = r2_score if regression else accuracy_score
    return score(y[test], model.predict(as_numbers(X)[test]))


def halves(n_rows):
    first = np.arange(n_rows) < n_rows // 2
    return first, ~first


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_same_seed_makes_the_same_table(task):
    everything = {"missing_share": 0.1, "n_groups": 3, "drift": 0.5, "outlier_share": 0.01}
    X, y = make_table(100, 6, task, **everything, random_state=3)
    X_again, y_again = make_table(100, 6, task, **everything, random_state=3)
    pd.testing.assert_frame_equal(X, X_again, check_exact=True)
    pd.testing.assert_series_equal(y, y_again, check_exact=True)
    assert not make_table(100, 6, task, **everything, random_state=4)[0].equals(X)


def test_the_global_random_state_is_neither_read_nor_set():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_table(50)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_a_generator_draws_another_table_each_time():
    rng = np.random.default_rng(0)
    assert not make_table(20, random_state=rng)[0].equals(make_table(20, random_state=rng)[0])


def test_more_rows_follow_the_same_mechanism():
    X, y = make_table(1500, 4, "regression", noise=0, random_state=0)
    X_new, y_new = make_table(2000, 4, "regression", noise=0, random_state=0)
    model = HistGradientBoostingRegressor().fit(as_numbers(X), y)
    assert not y_new[:1500].equals(y)
    assert model.score(as_numbers(X_new), y_new) > 0.9


def test_columns_have_the_types_and_names_that_were_asked_for():
    X, y = make_table(
        500, 10, categorical_share=0.4, cardinality=7, irrelevant_share=0.3, random_state=0
    )
    assert X.shape == (500, 10)
    assert y.name == "target"
    categories = X.select_dtypes("category")
    assert list(categories.nunique()) == [7] * 4
    assert all(name.split("_")[-2] == "categorical" for name in categories)
    assert sum(name.startswith("irrelevant_") for name in X) == 3
    assert X.drop(columns=categories.columns).dtypes.eq(float).all()


@pytest.mark.parametrize(("task", "least"), [("binary", 0.8), ("regression", 0.8)])
def test_without_noise_the_target_is_learnable(task, least):
    X, y = make_table(3000, 8, task, noise=0, random_state=0)
    assert skill(X, y, *halves(3000)) > least


def test_noise_is_in_units_of_the_signal():
    X, y = make_table(3000, 4, "regression", noise=1, random_state=0)
    assert y.std() == pytest.approx(2**0.5, rel=0.05)
    assert 0.3 < skill(X, y, *halves(3000)) < 0.55  # at most 0.5


def test_every_kind_of_dependence_is_there():
    """A linear model finds its 40 %, and no more."""
    shares = []
    for seed in range(5):
        X, y = make_table(
            3000, 6, "regression", noise=0, categorical_share=0, irrelevant_share=0,
            random_state=seed,
        )  # fmt: skip
        design = np.column_stack([np.ones(3000), X])
        residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        shares.append(1 - residual.var() / y.var())
    assert 0.35 < np.median(shares) < 0.75  # sines and trees are partly linear, too


def test_classes_of_a_binary_and_a_multi_class_target():
    assert make_table(101, random_state=0)[1].value_counts().tolist() == [51, 50]
    _, y = make_table(1000, task="multiclass", n_classes=20, random_state=0)
    assert y.value_counts().sort_index().tolist() == [50] * 20


def test_imbalance_is_the_ratio_of_the_rarest_class():
    _, y = make_table(1000, 5, "multiclass", n_classes=4, imbalance=0.9, random_state=0)
    counts = y.value_counts().sort_index().tolist()
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] / counts[0] == pytest.approx(0.1, abs=0.01)


def test_every_class_has_two_rows_where_there_are_enough():
    _, y = make_table(40, 5, "multiclass", n_classes=20, imbalance=0.99, random_state=0)
    assert y.value_counts().tolist() == [2] * 20
    _, y = make_table(3, 5, "multiclass", n_classes=3, random_state=0)
    assert sorted(y) == [0, 1, 2]


@pytest.mark.parametrize("missing", ["mcar", "mar", "mnar"])
def test_the_share_of_missing_cells(missing):
    X, _ = make_table(500, 6, missing_share=0.2, missing=missing, random_state=0)
    expected = [0.0 if missing == "mar" else 0.2, *[0.2] * 5]
    assert X.isna().mean().tolist() == expected


def test_what_the_gaps_depend_on():
    share = {"missing_share": 0.3, "categorical_share": 0, "random_state": 0}
    full, _ = make_table(2000, 3, **{**share, "missing_share": 0})
    first_of_gaps, own_of_gaps = {}, {}
    for missing in ("mcar", "mar", "mnar"):
        gaps = make_table(2000, 3, missing=missing, **share)[0]["numeric_2"].isna()
        standard = (full - full.mean()) / full.std()
        first_of_gaps[missing] = standard["numeric_1"][gaps].mean()
        own_of_gaps[missing] = standard["numeric_2"][gaps].mean()
    assert first_of_gaps["mar"] > 0.5
    assert own_of_gaps["mnar"] > 0.5
    assert abs(own_of_gaps["mar"]) < 0.15
    assert abs(own_of_gaps["mcar"]) < 0.15


def test_correlation_is_that_of_the_columns():
    X, _ = make_table(
        4000, 6, correlation=0.6, categorical_share=0, irrelevant_share=0.34, random_state=0
    )
    matrix = X.corr().to_numpy()
    relevant, irrelevant, across = matrix[:4, :4], matrix[4:, 4:], matrix[:4, 4:]
    assert relevant[np.triu_indices(4, 1)] == pytest.approx(0.6, abs=0.05)
    assert irrelevant[0, 1] == pytest.approx(0.6, abs=0.05)
    assert np.abs(across).max() < 0.06


def test_irrelevant_columns_carry_no_signal():
    X, y = make_table(
        3000, 8, "regression", irrelevant_share=0.5, correlation=0.5, noise=0, random_state=0
    )
    irrelevant = X[[name for name in X if name.startswith("irrelevant")]]
    assert skill(irrelevant, y, *halves(3000)) < 0.05
    assert skill(X.drop(columns=irrelevant.columns), y, *halves(3000)) > 0.8


def test_heavy_tails_are_heavy_and_change_no_order():
    table = {"categorical_share": 0, "random_state": 0}
    X, _ = make_table(2000, 3, "regression", **table)
    X_heavy, y_heavy = make_table(2000, 3, "regression", heavy_tails=0.3, **table)
    assert X.kurt().max() < 1
    assert X_heavy.kurt().min() > 5
    assert y_heavy.kurt() > 5
    assert (X_heavy.rank() == X.rank()).all(axis=None)


def test_the_share_of_outliers():
    X, _ = make_table(1000, 4, categorical_share=0, outlier_share=0.02, random_state=0)
    spread = X.quantile(0.75) - X.quantile(0.25)
    assert ((X - X.median()).abs() > 6 * spread).sum().tolist() == [20] * 4


def test_groups_differ_in_the_level_of_the_target():
    X, y = make_table(2000, 4, "regression", n_groups=8, noise=0, random_state=0)
    assert X["group"].nunique() == 8
    between = y.groupby(X["group"], observed=True).mean().var()
    assert 0.15 < between / y.var() < 0.6


def test_drift_makes_a_model_of_the_past_fail():
    past, future = halves(2000)
    lost = {}
    for drift in (0.0, 0.5, 1.0):
        X, y = make_table(2000, 5, "regression", drift=drift, noise=0, random_state=0)
        lost[drift] = skill(X, y, past, future)
    assert lost[0.0] > lost[0.5] + 0.1 > lost[1.0] + 0.2
    assert X["time"].is_monotonic_increasing
    assert X.columns[0] == "time"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_rows": 0}, "The 'n_rows' parameter of make_table must be an int"),
        ({"task": "ranking"}, "The 'task' parameter of make_table must be a str among"),
        ({"missing_share": 1.0}, "The 'missing_share' parameter of make_table must be a float"),
        ({"noise": -1}, "The 'noise' parameter of make_table"),
        ({"n_groups": 1}, "The 'n_groups' parameter of make_table"),
        ({"missing": "sometimes"}, "The 'missing' parameter of make_table"),
        ({"random_state": "x"}, "The 'random_state' parameter of make_table"),
        ({"n_rows": 3, "task": "multiclass", "n_classes": 4}, "n_rows=3 is too few for 4 classes"),
        ({"n_rows": 5, "n_groups": 6}, "n_groups=6 is more than n_rows=5"),
        ({"n_columns": 1, "missing": "mar", "missing_share": 0.1}, "missing='mar' needs n_columns"),
    ],
)
def test_wrong_parameters_are_one_sentence(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_table(**parameters)


@pytest.mark.parametrize("n_columns", [1, 2, 3])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_smallest_tables(n_columns, task):
    X, y = make_table(3, n_columns, task, random_state=0)
    assert X.shape == (3, n_columns)
    assert y.notna().all()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_table_runs_through_fit(task):
    X, y = make_table(
        120, 6, task, missing_share=0.1, n_groups=3, drift=0.3, outlier_share=0.01, random_state=0
    )
    kind = FinetunedTabPFNRegressor if task == "regression" else FinetunedTabPFNClassifier
    assert len(kind(**QUICK).fit(X, y).predict(X)) == 120

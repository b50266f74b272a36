"""No input breaks a fit: odd tables, wide and long ones, and tables drawn by hypothesis."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor

N = 60
RNG = np.random.default_rng(0)
BASE = pd.DataFrame(RNG.normal(size=(N, 2)), columns=["a", "b"])
LABELS = np.where(BASE["a"] + 0.3 * RNG.normal(size=N) > 0, "yes", "no")
QUICK = {"base_model": "mini", "max_steps": 1, "n_estimators": 1, "random_state": 0}

COLUMNS = {
    "constant": np.ones(N),
    "duplicate": BASE["a"],
    "missing throughout": np.full(N, np.nan),
    "nothing throughout": [None] * N,
    "identifiers": np.arange(N) + 10**17,
    "unsigned": np.arange(N).astype("uint64") + 2**63,
    "huge": BASE["a"] * 1e200,
    "tiny": BASE["a"] * 1e-200,
    "gaps": BASE["b"].where(BASE["b"] > 0),
    "days": pd.date_range("2024-01-01", periods=N),
    "zoned": pd.date_range("2024-01-01", periods=N, tz="Europe/Berlin"),
    "spans": pd.to_timedelta(np.arange(N), unit="h"),
    "months": pd.period_range("2000-01", periods=N, freq="M"),
    "text": [f"word{i} other{i % 3}" for i in range(N)],
    "category": pd.Categorical(RNG.choice(["x", "y", None], N)),
    "codes": pd.Categorical(RNG.integers(0, 4, N)),
    "ranges": pd.cut(BASE["a"], 3),
    "flag": RNG.random(N) < 0.5,
    "perhaps": RNG.choice([True, False, None], N),
    "nullable": pd.array([1, None] * (N // 2), dtype="Int64"),
    "string": pd.array(["u", None] * (N // 2), dtype="string"),
    "mixed": [1, "a", 2.5, None] * (N // 4),
    "sparse": pd.arrays.SparseArray(RNG.integers(0, 2, N).astype(float)),
    "half": BASE["a"].astype("float16"),
    "blank": ["", " "] * (N // 2),
}


def classifier(**parameters):
    return FinetunedTabPFNClassifier(**{**QUICK, **parameters})


def regressor(**parameters):
    return FinetunedTabPFNRegressor(**{**QUICK, **parameters})


def check_probabilities(proba, shape):
    assert proba.shape == shape
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:These columns look like free text")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # pandas 2, of 1e200
def test_every_kind_of_column_at_once():
    X = BASE.assign(**COLUMNS)
    model = classifier().fit(X, LABELS)
    check_probabilities(model.predict_proba(X.iloc[:7]), (7, 2))


@pytest.mark.filterwarnings("ignore:These columns look like free text")
@pytest.mark.parametrize("name", ["category", "codes", "gaps", "days", "flag", "mixed", "text"])
def test_a_column_that_is_missing_only_at_prediction(name):
    X = BASE.assign(t=COLUMNS[name])
    model = classifier(max_steps=0).fit(X, LABELS)
    dtype = X["t"].dtype if name == "codes" else object
    rows = X.assign(t=pd.Series([None] * N, dtype=dtype))
    check_probabilities(model.predict_proba(rows), (N, 2))


def test_categories_that_fit_did_not_see():
    X = BASE.assign(t=pd.Categorical(RNG.choice(["x", "y"], N)))
    model = classifier(max_steps=0).fit(X, LABELS)
    check_probabilities(model.predict_proba(X.assign(t="new")), (N, 2))


def test_a_wrong_column_at_prediction_is_named():
    model = classifier(max_steps=0).fit(BASE, LABELS)
    with pytest.raises(ValueError, match="X has 'n/a' in column 'b', which held numbers in fit"):
        model.predict(BASE.assign(b="n/a"))
    with pytest.raises(ValueError, match=r"(?s)feature names.*missing.*b"):
        model.predict(BASE[["a"]])


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_scale_of_a_target_changes_nothing(factor):
    y = BASE["a"].to_numpy() + 0.2 * RNG.normal(size=N)
    plain = regressor(max_steps=3).fit(BASE, y).predict(BASE)
    scaled = regressor(max_steps=3).fit(BASE, factor * y).predict(BASE)
    np.testing.assert_allclose(scaled / factor, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_five_hundred_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 500))
    y = np.where(X[:, 3] + X[:, 7] > 0, "yes", "no")
    model = classifier(n_estimators=2).fit(X, y)
    check_probabilities(model.predict_proba(X[:20]), (20, 2))


@pytest.mark.slow
def test_tens_of_thousands_of_rows(everything):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50_000 if everything else 10_500, 4)).astype(np.float32)
    y = np.where(X[:, 0] > 0, "yes", "no")
    model = classifier(validation=0.01, n_estimators=1).fit(X, y)
    proba = model.predict_proba(X[:200])
    check_probabilities(proba, (200, 2))
    assert np.mean(model.classes_[proba.argmax(axis=1)] == y[:200]) > 0.9


@st.composite
def tables(draw):
    """Draw a table of odd columns, a number of rows, and parameters."""
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4, unique=True))
    n_rows = draw(st.integers(1, N))
    rows = draw(st.permutations(range(N)))[:n_rows]
    X = BASE.assign(**{name: COLUMNS[name] for name in names}).iloc[rows]
    if draw(st.booleans()):
        X = X.drop(columns=["a", "b"])
    if draw(st.booleans()):
        X = X.to_numpy()
    return X, rows


PARAMETERS = st.fixed_dictionaries(
    {
        "max_steps": st.sampled_from([0, 1, 2]),
        "n_estimators": st.sampled_from([1, 2]),
        "validation": st.sampled_from(["random", "time", 0.4]),
        "n_folds": st.sampled_from([1, 1, 2]),
        "batch_size": st.sampled_from([1, 3]),
        "context_size": st.sampled_from([None, 5, 1000]),
        "training": st.sampled_from([None, {"query_size": 1}, {"query_size": 7}]),
        "random_state": st.integers(0, 3),
    }
)


MANY = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def is_a_sentence(error):
    text = str(error)
    return "\n" not in text and len(text.split()) >= 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@MANY
@given(table=tables(), parameters=PARAMETERS, extra=st.sampled_from([None, "balanced", "context"]))
def test_a_classifier_predicts_or_says_why_not(table, parameters, extra):
    X, rows = table
    chosen = {"balanced": {"class_weight": "balanced"}, "context": {"balanced_contexts": True}}
    try:
        model = classifier(**parameters, **chosen.get(extra, {})).fit(X, LABELS[rows])
    except ValueError as error:
        assert is_a_sentence(error), error
        return
    check_probabilities(model.predict_proba(X), (len(X), len(set(LABELS[rows]))))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@MANY
@given(
    table=tables(),
    parameters=PARAMETERS,
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e30]),
    shape=st.sampled_from(["normal", "constant", "heavy", "whole"]),
)
def test_a_regressor_predicts_or_says_why_not(table, parameters, scale, shape):
    X, rows = table
    y = {
        "normal": BASE["a"],
        "constant": np.ones(N),
        "heavy": BASE["a"] ** 9,
        "whole": np.arange(N) % 3,
    }[shape]
    y = scale * np.asarray(y, dtype=float)[rows]
    try:
        model = regressor(**parameters).fit(X, y)
    except ValueError as error:
        assert is_a_sentence(error), error
        return
    predicted = model.predict(X)
    assert predicted.shape == (len(X),)
    assert np.isfinite(predicted).all()

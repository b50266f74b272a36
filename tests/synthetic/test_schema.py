"""Schemas: written by hand, derived from a table, and the tables drawn from them."""

import copy
import doctest

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, kurtosis, spearmanr
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.synthetic import Schema, make_table, schema_of, table_from_schema
from finetune_tabpfn.synthetic._distributions import DISTRIBUTIONS

BY_HAND = """
columns:
  - {name: age, type: integer, distribution: normal, mean: 40, std: 12, missing_share: 0.1}
  - {name: income, type: numeric, distribution: lognormal, mean: 10, std: 0.5, decimals: 2}
  - {name: plan, type: categorical, categories: {basic: 0.6, plus: 0.3, pro: 0.1}}
  - {name: paperless, type: boolean, true_share: 0.7}
  - {name: since, type: datetime, distribution: uniform, low: 2020-01-01, high: 2024-12-31, freq: D}
  - {name: remark, type: text, words: 4}
  - {name: customer, type: identifier}
correlation:
  - [age, income, 0.6]
target:
  name: churn
  type: categorical
  categories: {"no": 0.8, "yes": 0.2}
  effects: {age: -1.0, plan: 0.5}
  noise: 0.2
"""


@pytest.fixture
def by_hand(tmp_path):
    path = tmp_path / "schema.yaml"
    path.write_text(BY_HAND)
    return path


@pytest.fixture(scope="module")
def real():
    """Give a table with every type of column and gaps, as a user would have it."""
    rng = np.random.default_rng(0)
    n = 1200
    size = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "amount": np.exp(size + 0.5 * rng.normal(size=n)).round(2),
            "count": rng.poisson(3, n),
            "rooms": np.where(rng.random(n) < 0.1, np.nan, rng.integers(1, 6, n)),
            "small": rng.integers(0, 100, n).astype("int8"),
            "nullable": pd.array(rng.integers(0, 1000, n), dtype="Int64"),
            "single": rng.normal(size=n).astype("float32"),
            "flag": rng.random(n) < 0.3,
            "answer": pd.Series(rng.choice([True, False, None], n), dtype="boolean"),
            "colour": pd.Categorical(rng.choice(["red", "green", "blue"], n, p=[0.5, 0.3, 0.2])),
            "city": np.where(rng.random(n) < 0.2, None, np.where(size > 0, "north", "south")),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D"),
            "moment": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, n), "s"),
            "iso": [f"2023-{month:02d}-15" for month in rng.integers(1, 13, n)],
            "comment": [" ".join(rng.choice(list("abcdefgh"), 5)) + f" {i}" for i in range(n)],
            "key": [f"K{i:05d}" for i in range(n)],
            "empty": np.nan,
            "constant": 7,
        }
    )
    frame["price"] = np.round(1000 * np.exp(size + 0.3 * rng.normal(size=n)))
    frame["label"] = np.where(size + 0.5 * rng.normal(size=n) > 1, "high", "low")
    return frame


def test_a_schema_by_hand(by_hand):
    X, y = table_from_schema(by_hand, 2000, random_state=0)
    kinds = ["float64", "float64", "category", "bool"]  # integers with gaps, as pandas reads them
    assert list(map(str, X.dtypes))[:4] == kinds
    assert X["age"].isna().mean() == 0.1
    assert (X["age"].dropna() % 1 == 0).all()
    assert X["age"].mean() == pytest.approx(40, abs=1)
    assert np.log(X["income"]).std() == pytest.approx(0.5, abs=0.03)
    assert X["plan"].value_counts(normalize=True)["pro"] == pytest.approx(0.1, abs=0.02)
    assert X["paperless"].mean() == pytest.approx(0.7, abs=0.03)
    assert X["since"].between("2020-01-01", "2024-12-31").all()
    assert (X["since"] == X["since"].dt.normalize()).all()
    assert X["remark"].str.split().str.len().mean() == pytest.approx(4, abs=0.2)
    assert X["customer"].is_unique
    assert spearmanr(X["age"], X["income"], nan_policy="omit")[0] == pytest.approx(0.58, abs=0.05)
    assert y.name == "churn"
    assert y.value_counts().to_dict() == {"no": 1600, "yes": 400}
    assert X["age"][y == "yes"].mean() < 30 < X["age"][y == "no"].mean()


def test_seed_and_schema_make_the_same_table(by_hand):
    X, y = table_from_schema(by_hand, 300, random_state=1)
    X_again, y_again = table_from_schema(Schema.from_yaml(by_hand), 300, random_state=1)
    pd.testing.assert_frame_equal(X, X_again, check_exact=True)
    pd.testing.assert_series_equal(y, y_again, check_exact=True)
    assert not table_from_schema(by_hand, 300, random_state=2)[0].equals(X)


def test_a_schema_survives_yaml_and_dict(by_hand, real, tmp_path):
    for schema in (Schema.from_yaml(by_hand), schema_of(real, "price"), schema_of(real, "label")):
        text = schema.to_yaml(tmp_path / "again.yaml")
        assert Schema.from_yaml(tmp_path / "again.yaml") == schema
        assert (tmp_path / "again.yaml").read_text(encoding="utf-8") == text == schema.to_yaml()
        assert Schema.from_dict(schema.to_dict()) == schema


PARAMETERS = {
    "normal": {"mean": 3.0, "std": 2.0},
    "uniform": {"low": -1.0, "high": 4.0},
    "lognormal": {"std": 0.3},
    "exponential": {"scale": 5.0},
    "student_t": {"df": 5.0},
    "poisson": {"rate": 4.0},
    "quantiles": {"values": [0.0, 1.0, 5.0, 20.0]},
    "discrete": {"values": {1.0: 0.5, 2.0: 0.3, 8.0: 0.2}},
}
MEANS = {"normal": 3, "uniform": 1.5, "lognormal": np.exp(0.045), "exponential": 5}
MEANS |= {"student_t": 0, "poisson": 4, "quantiles": 6.5 * 3 / 4 + 1.125, "discrete": 2.7}


@pytest.mark.parametrize("distribution", list(DISTRIBUTIONS))
def test_every_distribution(distribution):
    column = {"name": "x", "type": "numeric", "distribution": distribution}
    X, y = table_from_schema({"columns": [{**column, **PARAMETERS[distribution]}]}, 20_000, 0)
    assert y is None
    if distribution != "quantiles":
        assert X["x"].mean() == pytest.approx(MEANS[distribution], abs=0.1)
    if distribution == "student_t":
        assert kurtosis(X["x"]) > 2
    if distribution == "quantiles":
        assert X["x"].median() == pytest.approx(3, abs=0.1)
        assert (X["x"].min(), X["x"].max()) == (0, 20)


def columns_and_target(**target):
    columns = [{"name": f"x{i}", "type": "numeric", "distribution": "normal"} for i in range(3)]
    return {"columns": columns, "target": {"name": "y", **target}}


def test_effects_and_noise_make_a_numeric_target():
    target = {"type": "numeric", "distribution": "normal", "effects": {"x0": 2, "x1": -1}}
    for noise, share in ((0, 1), (5**0.5, 0.5)):
        X, y = table_from_schema(columns_and_target(**target, noise=noise), 4000, 0)
        model = Ridge().fit(X, y)
        assert model.score(X, y) == pytest.approx(share, abs=0.03)
        ratios = model.coef_ / model.coef_[0]
        assert ratios == pytest.approx([1, -0.5, 0], abs=0.1)


def test_a_target_without_effects_is_a_random_function_of_its_seed():
    target = {"type": "numeric", "distribution": "normal", "noise": 0}
    X, y = table_from_schema(columns_and_target(**target, seed=1), 500, 0)
    X_same, y_same = table_from_schema(columns_and_target(**target, seed=1), 500, 0)
    X_other, y_other = table_from_schema(columns_and_target(**target, seed=2), 500, 0)
    assert X.equals(X_same)
    assert X.equals(X_other)
    assert y.equals(y_same)
    assert not y.equals(y_other)


def test_effects_for_each_class():
    classes = {"a": 0.5, "b": 0.3, "c": 0.2}
    effects = {"b": {"x0": 1}, "c": {"x1": 1}}
    schema = columns_and_target(type="categorical", categories=classes, effects=effects, noise=0)
    X, y = table_from_schema(schema, 1000, 0)
    assert y.value_counts().to_dict() == {"a": 500, "b": 300, "c": 200}
    assert X["x1"][y == "c"].min() > X["x1"][y != "c"].max()
    assert X["x0"][y == "b"].min() > X["x0"][y == "a"].max()


def test_marginals_of_every_column_are_those_of_the_real_table(real):
    X, _ = table_from_schema(schema_of(real), len(real), random_state=0)
    assert list(X.columns) == list(real.columns)
    for name in real:
        assert X[name].isna().mean() == pytest.approx(real[name].isna().mean(), abs=0.001)
        day = pd.api.types.is_datetime64_any_dtype(real[name])
        assert day == pd.api.types.is_datetime64_any_dtype(X[name])
        if not day:
            assert X[name].dtype == real[name].dtype, name
        known, drawn = real[name].dropna(), X[name].dropna()
        if name in ("colour", "city", "flag", "answer", "label", "rooms"):
            shares = known.value_counts(normalize=True)
            difference = shares - drawn.value_counts(normalize=True)
            assert difference.abs().max() < 0.05, name
        elif len(known) and (day or pd.api.types.is_numeric_dtype(known)):
            known, drawn = (part.astype("int64" if day else float) for part in (known, drawn))
            assert ks_2samp(known, drawn).statistic < 0.06, name
    assert (X["amount"].round(2) == X["amount"]).all()
    assert (X["day"] == X["day"].dt.normalize()).all()
    assert X["iso"].str.fullmatch(r"2023-\d\d-\d\d").all()
    assert X["key"].is_unique
    assert X["comment"].str.split().str.len().mean() == pytest.approx(6, abs=0.3)


def test_no_text_no_extreme_and_no_rare_category_is_shown(real, tmp_path):
    frame = real.copy()
    frame.loc[0, "amount"] = 987654.25
    frame["colour"] = frame["colour"].cat.add_categories(["secret", *"uvwxyz"])
    frame.loc[1, "colour"] = "secret"
    frame.loc[2:13, "colour"] = list("uuvvwwxxyyzz")
    schema_of(frame, "price").to_yaml(tmp_path / "schema.yaml")
    text = (tmp_path / "schema.yaml").read_text()
    assert "secret" not in text
    assert "K00" not in text
    assert frame["comment"][0] not in text
    X, _ = table_from_schema(tmp_path / "schema.yaml", 2000, random_state=0)
    assert X["amount"].max() < real["amount"].max()
    assert set(X["colour"].cat.categories) == {"red", "green", "blue", "other"}
    shown = schema_of(frame, "price", min_count=1)
    assert "secret" in next(c for c in shown.columns if c.name == "colour").parameters["categories"]


def test_text_that_only_looks_like_dates_stays_text():
    frame = pd.DataFrame({"x": ["2024-13-45", "2024-01-01"] * 20})
    X, _ = table_from_schema(schema_of(frame), 40, random_state=0)
    assert set(X["x"]) == set(frame["x"])


def test_fewer_values_than_min_count_say_nothing():
    values = pd.DataFrame({"x": [*[np.nan] * 50, 12345.0], "y": [*[None] * 50, "someone"]})
    assert "12345" not in str(schema_of(values).to_dict())
    assert "someone" not in str(schema_of(values).to_dict())


def test_rank_correlations_are_those_of_the_real_table():
    frame = load_wine(as_frame=True).data
    X, _ = table_from_schema(schema_of(frame, min_count=5), 3000, random_state=0)
    difference = (frame.corr("spearman") - X.corr("spearman")).abs().to_numpy()
    assert np.median(difference) < 0.05
    assert difference.max() < 0.25


def test_associations_of_ties_are_not_lost():
    """Two coins that mostly agree, and a number that goes with them."""
    rng = np.random.default_rng(0)
    first = rng.random(3000) < 0.4
    second = np.where(rng.random(3000) < 0.8, first, ~first)
    frame = pd.DataFrame({"first": first, "second": second, "x": first + rng.normal(size=3000)})
    X, _ = table_from_schema(schema_of(frame), 3000, random_state=0)
    agreed = frame.astype(float).corr(), X.astype(float).corr()
    assert np.abs(agreed[0] - agreed[1]).max(axis=None) < 0.06


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_a_model_of_the_synthetic_table_works_on_the_real_one(load):
    frame = load(as_frame=True).frame
    X, y = table_from_schema(schema_of(frame, "target"), 1000, random_state=0)
    assert y.dtype == frame["target"].dtype
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    assert model.score(frame.drop(columns="target"), frame["target"]) > 0.85


def test_a_regression_of_the_synthetic_table_works_on_the_real_one():
    frame = load_diabetes(as_frame=True).frame
    X, y = table_from_schema(schema_of(frame, "target"), 1000, random_state=0)
    real_X, real_y = frame.drop(columns="target"), frame["target"]
    assert Ridge(0.01).fit(X, y).score(real_X, real_y) > 0.8 * Ridge(0.01).fit(
        real_X, real_y
    ).score(real_X, real_y)


def test_a_target_that_nothing_explains():
    frame = pd.DataFrame({"key": [f"k{i}" for i in range(90)], "y": list("abc") * 30})
    _, y = table_from_schema(schema_of(frame, "y"), 90, random_state=0)
    assert y.value_counts().to_dict() == {"a": 30, "b": 30, "c": 30}


def test_rows_without_a_target_are_left_out(real):
    frame = real[["amount", "label"]].copy()
    frame.loc[:99, "label"] = None
    schema = schema_of(frame, "label")
    assert schema.target.classes.keys() == {"high", "low"}
    assert table_from_schema(schema, 50, 0)[1].notna().all()


@pytest.mark.parametrize(
    "target",
    [
        pd.Series([True, False] * 50),
        pd.Series([0, 1, 2, 2] * 25),
        pd.Series([1.0, 2.0] * 50),
        pd.Series(pd.Categorical(["a", "b"] * 50)),
        pd.Series(["a", "b"] * 50),
        pd.Series(np.arange(100)),
        pd.Series(np.linspace(0, 1, 100)),
    ],
    ids=str,
)
def test_a_target_keeps_its_type(target):
    frame = pd.DataFrame({"x": np.arange(100.0), "y": target})
    _, y = table_from_schema(schema_of(frame, "y"), 100, random_state=0)
    assert y.dtype == target.dtype
    if target.nunique() < 5:
        assert y.value_counts().to_dict() == target.value_counts().to_dict()


def changed(path, value):
    """Return the schema by hand with one value replaced."""
    schema = copy.deepcopy(Schema.from_dict(SCHEMA).to_dict())
    *way, last = path
    part = schema
    for step in way:
        part = part[step]
    part[last] = value
    return schema


SCHEMA = columns_and_target(type="numeric", distribution="normal", effects={"x0": 1})
SCHEMA["correlation"] = [["x0", "x1", 0.3]]
FIRST = ("columns", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("columns",), [], "A schema must be a mapping with a list of columns"),
        (("rows",), 3, "a part of a schema must be one of: columns, correlation, target"),
        (("columns", 1), {"type": "numeric"}, "A column must be a mapping with name and type"),
        ((*FIRST, "name"), "x1", "There are two columns of the name 'x1'"),
        ((*FIRST, "type"), "number", "type of column 'x0' must be one of: numeric, integer"),
        ((*FIRST, "distribution"), "gauss", "distribution of column 'x0' must be one of: normal"),
        ((*FIRST, "distribution"), "poisson", "column 'x0' lacks rate"),
        ((*FIRST, "std"), 0, "std of column 'x0' must be a number above 0. Got 0 instead"),
        ((*FIRST, "mean"), "1e3", "mean of column 'x0' must be a number. Got '1e3' instead"),
        ((*FIRST, "sigma"), 1, "a parameter of column 'x0' must be one of: decimals, mean, std"),
        ((*FIRST, "missing_share"), 2, "missing_share of column 'x0' must be a number from 0"),
        ((*FIRST, "dtype"), "float1", "dtype of column 'x0' must be one of pandas"),
        ((*FIRST, "dtype"), "str", "dtype of column 'x0' must be one of pandas"),
        (("correlation", 0), ["x0", "x9", 0.1], "a column in correlation must be one of: x0, x1"),
        (("correlation", 0), ["x0", 0.1], "correlation must hold"),
        (
            ("correlation", 0),
            ["x0", "x1", 2],
            "correlation of columns 'x0' and 'x1' must be a number",
        ),
        (("target", "noise"), -1, "noise of the target must be a number from 0"),
        (("target",), {"name": "y", "type": "text"}, "type of the target must be one of"),
        (("target", "effects"), {"x9": 1}, "a column in effects of the target must be one of"),
        (("target", "effects"), {"x0": "big"}, "effect of column 'x0' on the target must be"),
        (("target", "effects"), [1], "effects of the target must be a mapping"),
        (("target", "effects"), {"a": {"x0": 1}}, "effects of the target must be for columns"),
        (("target", "missing_share"), 0.1, "missing_share of the target must be 0"),
    ],
)
def test_wrong_schemas_are_one_sentence(path, value, message):
    with pytest.raises(ValueError, match=message):
        Schema.from_dict(changed(path, value))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"type": "categorical"}, "lacks categories"),
        ({"type": "categorical", "categories": ["a"]}, "must map each one to its share"),
        ({"type": "categorical", "categories": {"a": 0.5}}, "add up to 1, not 0.5"),
        ({"type": "categorical", "categories": {True: 0.5, False: 0.5}}, "put yes, no, on and off"),
        ({"type": "boolean", "distribution": "normal"}, "distribution of column 'c'"),
        ({"type": "datetime", "distribution": "uniform", "low": "soon", "high": 3}, "be a date"),
        ({"type": "numeric", "distribution": "quantiles", "values": [2, 1]}, "ascending order"),
        ({"type": "numeric", "distribution": "uniform", "low": 2, "high": 1}, "low of column 'c'"),
        ({"type": "text", "words": 0}, "words of column 'c' must be a number from 1"),
    ],
)
def test_wrong_columns_are_one_sentence(column, message):
    with pytest.raises(ValueError, match=message):
        Schema.from_dict({"columns": [{"name": "c", **column}]})


def test_files_that_are_no_schema(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml cannot be read as YAML"):
        table_from_schema(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("columns: [")
    with pytest.raises(ValueError, match=r"broken\.yaml cannot be read as YAML"):
        Schema.from_yaml(tmp_path / "broken.yaml")
    with pytest.raises(ValueError, match="n_rows must be an int from 1 on"):
        table_from_schema(SCHEMA, 0)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(), "frame must be a DataFrame with rows and columns"),
        (pd.DataFrame({"x": [1.0, np.inf]}), "Column 'x' holds infinity"),
        (pd.DataFrame({"x": [[1], [2]]}), "Column 'x' holds mixed values"),
        (pd.DataFrame({"x": pd.to_timedelta([1, 2], "D")}), "Column 'x' holds timedelta64 values"),
        (pd.DataFrame({"x": [1j, 2j]}), "Column 'x' holds complex values"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "columns of the same name"),
    ],
)
def test_tables_that_have_no_schema(frame, message):
    with pytest.raises(ValueError, match=message):
        schema_of(frame)


def test_targets_that_have_no_schema():
    frame = pd.DataFrame({"x": range(30), "rare": list(map(str, range(30)))})
    with pytest.raises(ValueError, match="There is no column 'y'"):
        schema_of(frame, "y")
    with pytest.raises(ValueError, match="No class of the target 'rare' has min_count=10 rows"):
        schema_of(frame, "rare")
    with pytest.raises(ValueError, match="min_count must be an int from 1 on"):
        schema_of(frame, min_count=0)


def test_what_make_table_makes_has_a_schema():
    X, y = make_table(400, 6, "multiclass", n_groups=3, drift=0.5, random_state=0)
    twin, labels = table_from_schema(schema_of(X.assign(y=y), "y"), 400, random_state=0)
    assert list(twin.columns) == list(X.columns)
    assert labels.value_counts().to_dict() == y.value_counts().to_dict()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["price", "label"])
def test_the_table_of_a_schema_runs_through_fit(real, target):
    X, y = table_from_schema(schema_of(real, target), 150, random_state=0)
    kind = FinetunedTabPFNRegressor if target == "price" else FinetunedTabPFNClassifier
    model = kind(base_model="mini", max_steps=2, n_estimators=1, random_state=0).fit(X, y)
    assert len(model.predict(X)) == 150


@pytest.mark.parametrize("function", [make_table, table_from_schema, schema_of])
def test_the_examples_of_the_docstrings(function):
    (example,) = doctest.DocTestFinder().find(function, globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0

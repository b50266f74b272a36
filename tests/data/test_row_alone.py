"""The prediction of a row depends on the row alone: not on its neighbours, nor on the file."""

import json
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.cli import main
from finetune_tabpfn.data._io import read_table, write_table
from finetune_tabpfn.finetuning import _defaults
from finetune_tabpfn.studies._models import read_for

N = 80
RNG = np.random.default_rng(0)
QUICK = {"base_model": "mini", "n_estimators": 1, "random_state": 0}
FILES = ("csv", "json", "jsonl", "parquet")
WORDS = ["None", "NA", "nan", "null", "True", "007", "-", "1e3"]


def some_missing(cells, **options):
    return pd.Series(cells, **options).mask(RNG.random(N) < 0.2)


COLUMNS = {
    "number": pd.Series(RNG.normal(size=N)),
    "gaps": some_missing(RNG.normal(size=N)),
    "whole": pd.Series(RNG.integers(0, 50, N)),
    "nullable": some_missing(RNG.integers(0, 50, N), dtype="Int64"),
    "flag": pd.Series(RNG.random(N) < 0.5),
    "perhaps": some_missing(RNG.choice([True, False], N), dtype=object),
    "site": pd.Series(RNG.choice(["7", "8", "9", "A"], N)),
    "code": some_missing(RNG.choice(["01", "02", "10"], N), dtype="string"),
    "words": some_missing(RNG.choice(WORDS, N), dtype=object),
    "colour": some_missing(RNG.choice(["red", "green"], N), dtype="category"),
    "grade": pd.Series(pd.Categorical(RNG.integers(1, 5, N))),
    "note": pd.Series([f"parcel {i} to {'abc'[i % 3]}" for i in range(N)], dtype="str"),
    "digits": pd.Series([str(10**7 + 97 * i) for i in range(N - 1)] + ["x"], dtype=object),
    "only_digits": pd.Series(RNG.choice(["7", "8", "9"], N), dtype="str"),
    "day": some_missing(pd.date_range("2024-01-01", periods=N).to_series(index=range(N))),
    "moment": pd.Series(pd.date_range("2024-01-01", periods=N, freq="7h", tz="Europe/Berlin")),
    "written": pd.Series([f"{1 + i % 28:02}/{1 + i % 12:02}/2024" for i in range(N)]),
    "span": some_missing(pd.Series(pd.to_timedelta(RNG.integers(0, 999, N), unit="h"))),
    "lasted": pd.Series(pd.to_timedelta(RNG.integers(0, 999, N), unit="h")).astype(str),
    "cpu_time": pd.Series(RNG.integers(10**9, 2 * 10**9, N)),
}
TABLE = pd.DataFrame(COLUMNS)
LABELS = np.where(
    TABLE["site"].eq("A") | TABLE["number"].gt(0.5) | TABLE["colour"].isna(), "yes", "no"
)
AMOUNT = TABLE["number"] + TABLE["site"].eq("7") + TABLE["flag"]


def quietly(work, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work(*arguments, **options)


def answers(model, rows):
    said = model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)
    return np.asarray(said, dtype=float)


def agree(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def classifier():
    return quietly(FinetunedTabPFNClassifier(max_steps=2, **QUICK).fit, TABLE, LABELS)


@pytest.fixture(scope="module")
def regressor():
    return quietly(FinetunedTabPFNRegressor(max_steps=0, **QUICK).fit, TABLE, AMOUNT)


@pytest.fixture
def call(capsys):
    """Call the program as a user would, in this process."""

    def called(*arguments, status=0):
        try:
            found = quietly(main, [*map(str, arguments)])
        except SystemExit as stop:
            found = stop.code
        said = capsys.readouterr()
        assert found == status, said.err
        return said

    return called


# in the order of the issue: the property, then what once went wrong


def as_records(rows):
    """Rows as a service gets them: the types are what Python makes of the values."""
    return pd.DataFrame(rows.astype(object).where(rows.notna(), None).to_dict("records"))


def as_objects(rows):
    return rows.to_numpy(dtype=object)


@st.composite
def cases(draw):
    """Draw a table to learn from, rows with holes, a way to hand them over, and cuts."""
    names = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4, unique=True))
    numbers = draw(st.lists(st.integers(0, N - 1), min_size=1, max_size=6))
    holes = draw(st.lists(st.sampled_from(names), max_size=4, unique=True))
    way = draw(st.sampled_from(["frame", "records", "objects", *FILES]))
    cuts = draw(st.lists(st.integers(1, 5), max_size=3))
    return names, numbers, holes, way, sorted(set(cuts)), draw(st.booleans())


@pytest.mark.slow
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cases())
@example((["site", "words"], [0, 1, 2], ["words"], "csv", [1], True))
@example((["day", "span", "moment"], [3, 4], ["day"], "json", [1], False))
@example((["digits", "note"], [3, 4], [], "csv", [1], True))
def test_the_prediction_of_a_row_depends_on_the_row_alone(tmp_path, case):
    names, numbers, holes, way, cuts, classes = case
    table = TABLE[["number", *names]] if "number" not in names else TABLE[names]
    estimator = FinetunedTabPFNClassifier if classes else FinetunedTabPFNRegressor
    y = LABELS if classes else AMOUNT
    model = quietly(estimator(max_steps=0, **QUICK).fit, table, y)
    rows = table.iloc[numbers].reset_index(drop=True)
    for name in holes:
        rows[name] = rows[name].mask(np.arange(len(rows)) % 2 == 0)
    together = quietly(answers, model, rows)
    parts = []
    for number, part in enumerate(np.split(np.arange(len(rows)), cuts)):
        if len(part):
            some = rows.iloc[part]
            if way in FILES:
                path = tmp_path / f"part{number}.{way}"
                write_table(some, path)
                some = quietly(read_for, model, path)
            elif way == "records":
                some = as_records(some)
            elif way == "objects":
                some = as_objects(some)
            parts.append(quietly(answers, model, some))
    agree(np.concatenate(parts), together)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["records", "objects", *FILES])
def test_the_same_rows_in_every_format(classifier, regressor, way, tmp_path):
    rows = TABLE.iloc[:20]
    for model in (classifier, regressor):
        if way in FILES:
            write_table(rows, tmp_path / f"rows.{way}")
            given_rows = read_for(model, tmp_path / f"rows.{way}")
        else:
            given_rows = {"records": as_records, "objects": as_objects}[way](rows)
        agree(quietly(answers, model, given_rows), answers(model, rows))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
@pytest.mark.parametrize("levels", [["a", "b"], ["a", "b", None]])
def test_text_that_is_missing_in_all_rows_to_predict(dtype, levels):
    """A service that predicts one row; a CSV with a blank."""
    if dtype == "str" and None in levels and int(pd.__version__.split(".")[0]) < 3:
        pytest.skip("before pandas 3, astype(str) made text of missing cells")
    site = pd.Series(np.resize(levels, N), dtype=object).astype(dtype)
    X = pd.DataFrame({"x": RNG.normal(size=N), "site": site})
    y = np.where(site.eq("a").fillna(False), "yes", "no")
    two = X.iloc[:2].assign(site=pd.Series([None, "b"], dtype=object).astype(dtype))
    one = [two[:1], two[:1].assign(site=np.nan), two[:1].assign(site=None)]
    for estimator, target in ((FinetunedTabPFNClassifier, y), (FinetunedTabPFNRegressor, X["x"])):
        model = estimator(max_steps=0, **QUICK).fit(X, target)
        for row in one:
            agree(answers(model, row), answers(model, two)[:1])


def test_text_that_is_missing_in_all_rows_of_an_array():
    X = pd.DataFrame({"x": RNG.normal(size=N), "site": np.resize(["a", "b"], N)}).to_numpy(object)
    model = FinetunedTabPFNClassifier(max_steps=0, **QUICK).fit(X, np.resize(["yes", "no"], N))
    two = np.array([[0.3, None], [0.1, "b"]], dtype=object)
    agree(answers(model, two[:1]), answers(model, two)[:1])
    agree(answers(model, np.array([[0.3, np.nan]])), answers(model, two)[:1])


@pytest.mark.slow
def test_validation_rows_are_read_as_the_training_rows(classifier):
    """Their score at evaluation 0 is the base model's, however pandas typed the column."""
    X = TABLE[["number", "site", "written"]]
    rows = X.iloc[:12].assign(site=np.resize(["7", "8"], 12))
    scores = []
    for X_val in (rows, rows.assign(site=rows["site"].astype(int)), as_objects(rows)):
        model = FinetunedTabPFNClassifier(max_steps=2, **QUICK)
        quietly(model.fit, X, LABELS, X_val=X_val, y_val=LABELS[:12])
        scores.append((model.base_score_, model.best_score_))
    np.testing.assert_allclose(scores, [scores[0]] * 3, rtol=1e-5)
    with pytest.raises(ValueError, match="X_val has 'x' in column 'number', which held numbers"):
        model.fit(X, LABELS, X_val=rows.assign(number="x"), y_val=LABELS[:12])


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Labels that follow a text column of the levels 7, 8, 9 and A, and files of parts of it."""
    folder = tmp_path_factory.mktemp("sites")
    site = RNG.choice(["7", "8", "9", "A"], N)
    table = pd.DataFrame({"x": RNG.normal(size=N), "site": site})
    table["label"] = np.where(np.isin(site, ["7", "A"]), "yes", "no")
    digits = table[table["site"] != "A"]
    table.to_csv(folder / "train.csv", index=False)
    digits.to_csv(folder / "digits.csv", index=False)
    digits.assign(site="").to_csv(folder / "blank.csv", index=False)
    arguments = ["fit", folder / "train.csv", "--target", "label", "--out", folder / "m.joblib"]
    options = ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--quiet"]
    assert main([*map(str, arguments), *options, "--random-state", "0"]) == 0
    return folder, table, digits


def test_a_file_of_digits_where_fit_had_text(sites, call, tmp_path):
    folder, _, digits = sites
    call("predict", folder / "m.joblib", folder / "digits.csv", "--out", tmp_path / "p.csv")
    assert (pd.read_csv(tmp_path / "p.csv")["prediction"].to_numpy() == digits["label"]).all()
    said = call(
        "evaluate", folder / "m.joblib", folder / "digits.csv", "--target", "label", "--json"
    )
    assert json.loads(said.out)["metrics"]["accuracy"] == 1
    model = joblib.load(folder / "m.joblib")
    ints = digits.assign(site=digits["site"].astype(int))
    gaps = ints.assign(site=ints["site"].astype(float).where(np.arange(len(ints)) > 0))
    agree(answers(model, ints[["x", "site"]]), answers(model, digits[["x", "site"]]))
    agree(answers(model, gaps[["x", "site"]])[1:], answers(model, digits[["x", "site"]])[1:])


def test_a_run_reads_its_other_tables_like_the_first(sites, call, tmp_path):
    folder, _, _ = sites
    (tmp_path / "run.yaml").write_text(
        f"data: {{path: {folder / 'train.csv'}, target: label, test_path: {folder / 'digits.csv'},"
        f" validation_path: {folder / 'digits.csv'}}}\nbase_model: mini\n"
        "finetuning: {max_steps: 2, n_estimators: 1, random_state: 0}\n"
        f"output: {{folder: {tmp_path}}}\n"
    )
    result = json.loads(call("run", tmp_path / "run.yaml", "--quiet", "--json").out)
    assert result["test"]["deployed"]["accuracy"] == 1
    assert result["hold_out"]["base"]["score"] > -0.2


def test_a_blank_cell_of_a_file_is_the_same_in_one_row_as_in_many(sites, call, tmp_path):
    folder, table, _ = sites
    rows = table.assign(site=table["site"].where(table.index > 0))
    found = []
    for some in (rows, rows[:1]):
        some.to_csv(tmp_path / "rows.csv", index=False)
        call("predict", folder / "m.joblib", tmp_path / "rows.csv", "--out", tmp_path / "p.csv")
        found.append(pd.read_csv(tmp_path / "p.csv")["probability_yes"][0])
    agree(*found)


def test_digits_in_json_are_text(call, tmp_path):
    """As a feature and as a label; and no name makes a date of a number."""
    codes = np.resize(["01", "1", "02"], N)
    table = pd.DataFrame({"x": RNG.normal(size=N), "code": codes, "updated_at": range(N)})
    table["label"] = np.where(codes == "01", "01", np.where(codes == "1", "1", "02"))
    write_table(table, tmp_path / "t.json")
    arguments = ["--base-model", "mini", "--max-steps", "0", "--n-estimators", "1", "--quiet"]
    out = tmp_path / "m.joblib"
    call("fit", tmp_path / "t.json", "--target", "label", "--out", out, *arguments)
    model = joblib.load(out)
    assert model.classes_.tolist() == ["01", "02", "1"]
    assert [column.kind for column in model.columns_.columns] == ["numbers", "text", "numbers"]
    for ending in FILES:
        write_table(table, tmp_path / f"rows.{ending}")
        rows, said = tmp_path / f"rows.{ending}", tmp_path / "p.parquet"
        call("predict", out, rows, "--out", said)
        assert (pd.read_parquet(said)["prediction"] == table["label"]).mean() > 0.95
        found = json.loads(call("evaluate", out, rows, "--target", "label", "--json").out)
        assert found["metrics"]["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("column", "cells", "held"),
    [("day", 19723, "dates"), ("written", 20240101, "dates"), ("span", 3600, "timespans")],
)
def test_numbers_where_fit_had_dates_are_refused_by_name(
    classifier, column, cells, held, call, tmp_path
):
    rows = TABLE.iloc[:3].assign(**{column: cells})
    sentence = f"X has {cells} in column '{column}', which held {held} in fit"
    with pytest.raises(ValueError, match=sentence):
        classifier.predict(rows)
    joblib.dump(classifier, tmp_path / "m.joblib")
    for ending in ("json", "csv"):
        write_table(rows, tmp_path / f"rows.{ending}")
        out = tmp_path / "p.csv"
        said = call(
            "predict", tmp_path / "m.joblib", tmp_path / f"rows.{ending}", "--out", out, status=1
        )
        assert f"in column '{column}', which held {held} in fit" in said.err
        assert said.err.count("\n") == 1


def test_the_order_of_day_and_month_is_decided_on_the_training_rows():
    days = pd.date_range("2024-01-01", periods=N, freq="4D")
    y = np.where(days.month % 2 == 0, "even", "odd")
    X = pd.DataFrame({"day": days.strftime("%d/%m/%Y"), "x": RNG.normal(size=N)})
    model = quietly(FinetunedTabPFNClassifier(max_steps=0, **QUICK).fit, X, y)
    assert model.columns_.columns[0].order == "day first"
    alone = pd.DataFrame({"day": ["03/04/2024"], "x": [0.0]})
    for same in ("3/4/2024", "2024-04-03", pd.Timestamp("2024-04-03")):
        agree(answers(model, alone), answers(model, alone.assign(day=same)))
    ambiguous = X.assign(day=np.resize(["03/04/2024", "05/06/2024"], N))
    with pytest.warns(UserWarning, match=r"'03/04/2024' in 'day'\); the month is taken") as said:
        FinetunedTabPFNClassifier(max_steps=0, **QUICK).fit(ambiguous, y)
    assert sum("the month is taken" in str(one.message) for one in said) == 1
    assert said[0].filename == __file__


@pytest.fixture(scope="module")
def severities(tmp_path_factory):
    """A class and a level of every word that pandas takes for missing, and number columns."""
    path = tmp_path_factory.mktemp("words") / "t.csv"
    levels = np.resize(["None", "NA", "nan", "null", ""], N)
    table = pd.DataFrame({"level": levels, "x": np.arange(N) / 7, "gaps": np.arange(N)})
    table["gaps"] = table["gaps"].astype(str).where(table.index % 9 > 0, "")
    table["severity"] = np.resize(["None", "NA", "null", "nan", "high"], N)
    table.to_csv(path, index=False)
    return path, table


def test_only_blank_cells_of_a_csv_are_missing(severities, call, tmp_path):
    path, table = severities
    out, said = tmp_path / "m.joblib", tmp_path / "p.jsonl"
    options = ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--quiet"]
    call("fit", path, "--target", "severity", "--out", out, *options, "--random-state", 0)
    model = joblib.load(out)
    assert model.classes_.tolist() == ["NA", "None", "high", "nan", "null"]
    assert [column.kind for column in model.columns_.columns] == ["text", "numbers", "numbers"]
    call("predict", out, path, "--out", said)
    predictions = [json.loads(line)["prediction"] for line in said.read_text().splitlines()]
    assert (np.array(predictions) == table["severity"]).mean() > 0.95
    found = json.loads(call("evaluate", out, path, "--target", "severity", "--json").out)
    assert found["rows"] == N
    assert found["metrics"]["accuracy"] > 0.95


def test_prepare_and_preview_keep_a_class_called_none(severities, call, tmp_path):
    path, _ = severities
    shared = ["--target", "severity"]
    report = json.loads(call("prepare", path, *shared, "--out", tmp_path / "out", "--json").out)
    assert report["labels"] == dict.fromkeys(["None", "NA", "null", "nan", "high"], N // 5)
    assert report["rows"] == N
    options = ["--data-path", path, *shared, "--test-mode", "--no-cache", "--quiet"]
    said = json.loads(call("preview", *options, "--output-format", "json").out)
    assert said["data"]["rows_available"] == N


@pytest.mark.parametrize("ending", FILES)
def test_words_that_mean_missing(ending, call, tmp_path):
    table = pd.DataFrame({"x": np.resize(["1.5", "NA", "2.5"], N), "z": range(N)})
    table["site"] = np.resize(["a", "?"], N)
    table["y"] = np.resize(["yes", "no", "NA"], N)
    path = tmp_path / f"t.{ending}"
    write_table(table, path)
    words, out = ["--missing-values", "NA,?"], tmp_path / "m.joblib"
    options = ["--base-model", "mini", "--max-steps", "0", "--n-estimators", "1", "--quiet"]
    refused = call("fit", path, "--target", "y", "--out", out, *options, *words, status=1)
    assert "Input y contains NaN" in refused.err
    clean = tmp_path / "clean"
    report = call(
        "prepare", path, "--target", "y", "--out", clean, "--json", *words, "--keep-duplicates"
    )
    assert json.loads(report.out)["labels"] == {"no": 27, "yes": 27}
    call("fit", clean / f"clean.{ending}", "--target", "y", "--out", out, *options, *words)
    spelled = table[table["y"] != "NA"].drop(columns="y")
    write_table(spelled, tmp_path / f"rows.{ending}")
    write_table(spelled.replace({"NA": None, "?": None}), tmp_path / f"blank.{ending}")
    found = []
    for name, more in (("rows", words), ("blank", [])):
        call("predict", out, tmp_path / f"{name}.{ending}", "--out", tmp_path / "p.csv", *more)
        found.append(pd.read_csv(tmp_path / "p.csv")["probability_yes"])
    agree(*found)


@pytest.mark.slow
def test_words_that_mean_missing_in_a_run(call, tmp_path):
    table = pd.DataFrame({"x": np.resize(["1.5", "?", "NaN"], N), "y": np.resize(["a", "b"], N)})
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "run.yaml").write_text(
        f"data: {{path: {tmp_path / 't.csv'}, target: y, missing_values: ['?', NaN]}}\n"
        "base_model: mini\nfinetuning: {max_steps: 0, n_estimators: 1}\n"
        f"output: {{folder: {tmp_path}}}\n"
    )
    for flags in ([], ["--missing-values", "?,NaN"]):
        result = json.loads(call("run", tmp_path / "run.yaml", "--quiet", "--json", *flags).out)
        model = joblib.load(f"{result['folder']}/estimator.joblib")
        assert model.columns_.columns[0].kind == "numbers"
    said = call("run", tmp_path / "run.yaml", "--validate-config", "--missing-values", "NaN,-9")
    assert "missing_values:\n  - NaN\n  - '-9'" in said.out


def test_words_among_numbers_are_missing_and_said(tmp_path):
    table = pd.DataFrame({"x": ["1.5", "NA", "2.5"], "y": ["NA", "b", "c"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(UserWarning, match=r"words among numbers .*\('NA' in 'x'\)"):
        read = read_table(tmp_path / "t.csv")
    assert read["x"].dtype == float
    assert read["y"].tolist() == ["NA", "b", "c"]


@pytest.mark.slow
@pytest.mark.parametrize("folds", [1, 2])
def test_many_rows_are_predicted_in_batches(folds, monkeypatch):
    X, rows = TABLE[["number", "site", "day"]], TABLE[["number", "site", "day"]]
    models = [
        FinetunedTabPFNClassifier(max_steps=0, n_folds=folds, **QUICK).fit(X, LABELS),
        FinetunedTabPFNRegressor(max_steps=0, n_folds=folds, **QUICK).fit(X, AMOUNT),
    ]
    whole = [answers(model, rows) for model in models]
    main_answers = models[1].predict(rows, output_type="full")
    monkeypatch.setattr(_defaults, "rows_at_once", lambda n_columns, n_context: 23)
    for model, expected in zip(models, whole, strict=True):
        agree(answers(model, rows), expected)
    parts = models[1].predict(rows, output_type="full")
    assert parts.keys() == main_answers.keys()
    assert len(parts["logits"]) == N
    agree(parts["quantiles"], main_answers["quantiles"])
    agree(parts["median"], main_answers["median"])
    assert (models[0].predict(rows) == models[0].classes_[whole[0].argmax(axis=1)]).all()


def test_batches_do_not_grow_with_the_rows():
    assert _defaults.rows_at_once(60, 500) == 5000
    assert _defaults.rows_at_once(60, 10_000) == 10_000
    assert _defaults.rows_at_once(10_000, 500) == 1000


def test_the_program_predicts_in_batches(sites, call, tmp_path):
    folder, *_ = sites
    found = []
    for size in (7, 10_000):
        arguments = ["predict", folder / "m.joblib", folder / "train.csv", "--batch-size", size]
        call(*arguments, "--out", tmp_path / "p.csv")
        found.append(pd.read_csv(tmp_path / "p.csv"))
    assert len(found[0]) == N
    agree(found[0]["probability_yes"], found[1]["probability_yes"])
    arguments = ["predict", folder / "m.joblib", folder / "train.csv", "--batch-size", 0]
    said = call(*arguments, "--out", tmp_path / "p.csv", status=1)
    assert "batch_size=0 must be 1 or more" in said.err


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (pd.array([0, 1], dtype="Int64"), [0, 1]),
        (pd.array([True, False], dtype="boolean"), [False, True]),
        (pd.Categorical(pd.array([2, 3], dtype="Int64")), [2, 3]),
        (np.array([True, False], dtype=object), [False, True]),
        (np.array([3, 2], dtype=object), [2, 3]),
    ],
)
def test_classes_keep_their_type(y, expected):
    y = pd.Series(y)[np.resize([0, 1], 12)].reset_index(drop=True)
    model = FinetunedTabPFNClassifier(max_steps=0, **QUICK)
    quietly(model.fit, TABLE[["number"]][:12], y)
    assert model.classes_.tolist() == expected
    assert model.classes_.dtype == np.array(expected).dtype
    assert model.predict(TABLE[["number"]][:3]).dtype == model.classes_.dtype


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (TABLE["moment"], "y holds dates such as '2024-01-01 .*; a regressor needs numbers"),
        (TABLE["written"], "y holds values that are not numbers"),
        (pd.date_range("2024-01-01", periods=N), "y holds dates"),
        (TABLE["moment"].astype(object), "y holds dates"),
        (TABLE["span"].fillna(pd.Timedelta(0)), "y holds timespans .*total_seconds"),
    ],
)
def test_dates_and_timespans_are_no_quantities(y, message):
    with pytest.raises(ValueError, match=message):
        FinetunedTabPFNRegressor(max_steps=0, **QUICK).fit(TABLE[["number"]], y)


def test_the_kinds_survive_joblib(classifier, tmp_path):
    joblib.dump(classifier, tmp_path / "m.joblib")
    again = joblib.load(tmp_path / "m.joblib")
    assert again.columns_ == classifier.columns_
    rows = as_records(TABLE.iloc[:3])
    agree(answers(again, rows), answers(classifier, TABLE.iloc[:3]))

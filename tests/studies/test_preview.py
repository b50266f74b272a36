"""Whether fine-tuning pays, and whether rows should be added."""

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from finetune_tabpfn.cli import main
from finetune_tabpfn.studies import _comparison
from finetune_tabpfn.studies._preview import NOTICE, preview
from finetune_tabpfn.studies._preview_data import ENTRIES, preview_data, sample
from finetune_tabpfn.studies._preview_models import rows_that_fit
from finetune_tabpfn.synthetic import make_table

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "preview.schema.json").read_text())
DEVELOPMENT_TABLES = Path(__file__).parents[3] / "shared" / "data"
QUICK = {"base_model": "mini", "max_steps": 2, "n_estimators": 1}


def valid(result):
    """Return a result that follows the published schema."""
    Draft202012Validator(SCHEMA).validate(result)
    return result


@pytest.fixture(scope="module")
def cancer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cancer")
    frame = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=0)
    frame["target"] = frame["target"].map({0: "malignant", 1: "benign"})
    frame.to_csv(folder / "all.csv", index=False)
    frame[:300].to_csv(folder / "table.csv", index=False)
    frame[300:].to_csv(folder / "new.csv", index=False)
    return folder


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_does_fine_tuning_pay(cancer, tmp_path):
    said = []
    result = valid(
        preview(cancer / "all.csv", target="target", cache_dir=tmp_path, say=said.append, **QUICK)
    )
    assert result["preview_mode"] is True
    assert result["notice"] == NOTICE == "PREVIEW - NON-BINDING ESTIMATE"
    assert result["question"] == "fine_tuning"
    assert result["sample_size_used"] == 569
    assert result["candidate"]["steps"] == 2
    assert result["baseline"]["base_model"]["name"] == "mini"
    assert set(result["metrics"]) == {"neg_log_loss", "neg_brier_score", "roc_auc", "accuracy"}
    for row in result["metrics"].values():
        assert row["delta"] == pytest.approx(row["candidate"] - row["baseline"])
        assert row["interval"][0] <= row["delta"] <= row["interval"][1]
    assert "Fine-tuning" in result["verdict"]
    assert said[0] == "classification of 'target': 569 of 569 rows, 115 of them held out"


@pytest.mark.slow
def test_should_rows_be_added(cancer):
    # most of the rows are new, so that they are worth something
    result = valid(
        preview(
            cancer / "all.csv",
            base_data=cancer / "table.csv",
            target="target",
            cache_dir=None,
            **QUICK,
        )
    )
    assert result["question"] == "add_rows"
    assert result["data"] | {"data_path": "", "base_data": ""} == {
        "data_path": "",
        "base_data": "",
        "rows_available": 569,
        "train_rows": 240,
        "new_rows": 269,
        "held_out_rows": 60,
    }
    assert "300 new rows are in the base table already; left out." in result["notes"]
    assert result["baseline"]["steps"] == result["candidate"]["steps"] == 2
    assert "Adding the rows" in result["verdict"]


def test_rows_of_noise_should_not_be_added(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
    frame["y"] = np.where(frame["a"] > 0, "up", "down")
    frame.to_csv(tmp_path / "table.csv", index=False)
    frame["y"] = np.where(frame["a"] > 0, "down", "up")
    frame["a"] += 1e-3
    frame.to_csv(tmp_path / "new.csv", index=False)
    result = preview(
        tmp_path / "new.csv",
        base_data=tmp_path / "table.csv",
        target="y",
        cache_dir=None,
        **QUICK,
    )
    assert result["verdict"].startswith("Adding the rows does harm")
    assert result["combined_delta"] < -0.5
    assert result["estimation_confidence"] == 1


@pytest.mark.slow
def test_a_quantity_and_a_full_run(tmp_path):
    load_diabetes(as_frame=True).frame.to_parquet(tmp_path / "t.parquet")
    arguments = {"target": "target", "cache_dir": tmp_path / "cache", **QUICK}
    small = valid(preview(tmp_path / "t.parquet", sample_size=100, **arguments))
    full = valid(preview(tmp_path / "t.parquet", full=True, sample_size=100, **arguments))
    assert (small["preview_mode"], full["preview_mode"]) == (True, False)
    assert full["notice"] == "FULL RUN"
    assert 95 <= small["sample_size_used"] <= 110
    assert full["sample_size_used"] == 442
    assert small["parameters"]["time_limit"] == 240
    assert full["parameters"]["time_limit"] is None
    assert "neg_root_mean_squared_error" in full["metrics"]
    assert any("A stratified sample" in note for note in small["notes"])


@pytest.mark.slow
def test_a_preview_repeats_itself(cancer):
    arguments = {"target": "target", "cache_dir": None, **QUICK}
    one, two = (preview(cancer / "new.csv", **arguments) for _ in range(2))
    other = preview(cancer / "new.csv", random_state=1, **arguments)
    assert one["metrics"] == two["metrics"]
    assert one["metrics"] != other["metrics"]


@pytest.mark.slow
def test_a_given_baseline(cancer, tmp_path):
    table = pd.read_csv(cancer / "table.csv")
    poor = LogisticRegression(max_iter=5000).fit(table[["mean texture"]], table["target"])
    joblib.dump(poor, tmp_path / "poor.joblib")
    arguments = {"target": "target", "cache_dir": None, "sample_size": 200, **QUICK}
    result = valid(
        preview(cancer / "all.csv", baseline_model=tmp_path / "poor.joblib", **arguments)
    )
    assert result["baseline"]["base_model"] is None
    assert result["metrics"]["accuracy"]["delta"] > 0.1
    assert result["verdict"].startswith("Fine-tuning pays")
    assert any("poor.joblib was fitted before" in note for note in result["notes"])
    named = valid(preview(cancer / "all.csv", baseline_model="mini", **arguments))
    assert named["baseline"]["name"] == "base model mini as it is"


def test_without_time_there_is_no_answer(cancer, monkeypatch):
    monkeypatch.setattr("finetune_tabpfn.studies._preview_models.LEAST_SECONDS", 0.05)
    with pytest.warns(UserWarning, match="time_limit left no room"):
        # the full run: a preview would take so few rows that nothing could be trained on them
        result = valid(
            preview(
                cancer / "new.csv",
                target="target",
                full=True,
                time_limit=0.01,
                cache_dir=None,
                **QUICK,
            )
        )
    assert result["verdict"].startswith("No answer: the time limit left no room")
    assert result["estimation_confidence"] == 0


def test_a_slow_machine_is_given_fewer_rows(tmp_path):
    X, y = make_table(2500, 4, random_state=0)
    X.assign(target=y).to_csv(tmp_path / "t.csv", index=False)
    arguments = {"task": "classification", "sample_size": None, "random_state": 0}
    data = preview_data(tmp_path / "t.csv", None, "target", cache_dir=None, **arguments)
    settings = {"base_model": "mini", "random_state": 0, "n_estimators": 1}
    few, many = (rows_that_fit(data, "target", settings, seconds) for seconds in (0.05, 500))
    assert few < 2500 == many


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:time_limit left no room")  # on a busy machine
def test_the_time_limit_is_of_the_whole(cancer):
    settings = {**QUICK, "max_steps": 10_000, "patience": None}
    result = preview(cancer / "new.csv", target="target", time_limit=8, cache_dir=None, **settings)
    assert result["time_elapsed"] < 8 * 1.3 + 2
    assert result["candidate"]["stop_reason"] == "time_limit"
    assert any("The time limit ended the fine-tuning" in note for note in result["notes"])


def test_the_command(cancer, tmp_path, capsys):
    given = ["--data-path", cancer / "new.csv", "--base-data", cancer / "table.csv"]
    options = ["--target", "target", "--test-mode", "--output-format", "json"]
    cache = ["--cache-dir", tmp_path / "cache"]
    assert main(["preview", *map(str, [*given, *options, *cache])]) == 0
    said = capsys.readouterr()
    result = valid(json.loads(said.out))
    assert result["test_mode"] is True
    assert result["sample_size_used"] <= 210
    assert result["parameters"]["base_model"] == "mini"
    assert "held out" in said.err
    assert len(list((tmp_path / "cache").glob("*.parquet"))) == 1


def test_for_reading_and_into_a_file(cancer, tmp_path, capsys):
    given = ["preview", "--data-path", str(cancer / "all.csv"), "--target", "target"]
    options = ["--test-mode", "--no-cache", "--quiet"]
    assert main([*given, *options]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("PREVIEW - NON-BINDING ESTIMATE\nDoes fine-tuning pay?")
    assert "95 % interval" in said.out
    assert "combined (share of the error)" in said.out
    out = tmp_path / "p.json"
    assert main([*given, *options, "--output-format", "json", "--output-file", str(out)]) == 0
    valid(json.loads(out.read_text()))
    assert f"saved {out}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data-path", "no.csv"], "no.csv is not a file"),
        (["--data-path", "{all}", "--base-data", "no.csv"], "no.csv is not a file"),
        (["--data-path", "{all}", "--target", "tagret"], "There is no column 'tagret'"),
        (["--data-path", "{all}", "--sample-size", "5"], "sample_size=5 must be 20 or more"),
        (["--data-path", "{other}", "--base-data", "{all}"], "lacks the column 'mean radius'"),
        (["--data-path", "{all}", "--base-data", "{all}"], "holds no row that the base table does"),
        (["--data-path", "{all}", "--baseline-model", "no.joblib"], "no.joblib is not a file"),
    ],
)
def test_what_preview_cannot_do(arguments, message, cancer, tmp_path, capsys):
    (tmp_path / "other.csv").write_text("x,target\n1,benign\n2,malignant\n3,benign\n")
    names = {"all": cancer / "all.csv", "other": tmp_path / "other.csv"}
    given = [argument.format(**names) for argument in arguments]
    quick = ["--target", "target", "--test-mode", "--no-cache", "--quiet"]
    assert main(["preview", *quick, *given]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--random-state", "x", "must be a whole number from 0"),
        ("--learning-rate", "-1", "must be a number above 0"),
    ],
)
def test_preview_refuses_a_value_before_it_reads_the_table(option, value, message, cancer, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["preview", "--data-path", str(cancer / "all.csv"), option, value])
    said = capsys.readouterr().err
    assert option in said
    assert message in said


def take_rows(path, folder, **changes):
    settings = {"task": "auto", "sample_size": 200, "random_state": 0, "cache_dir": folder}
    return preview_data(path, None, "target", **{**settings, **changes})


def test_the_cache_is_keyed_by_content(cancer, tmp_path):
    table, cache = tmp_path / "t.csv", tmp_path / "cache"
    table.write_bytes((cancer / "all.csv").read_bytes())
    first = take_rows(table, cache)
    (entry,) = cache.glob("*.parquet")
    written = entry.stat().st_mtime_ns
    again = take_rows(table, cache)
    assert entry.stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(first.train, again.train)
    pd.testing.assert_frame_equal(first.held_out, again.held_out)
    assert first.notes == again.notes
    uncached = take_rows(table, None)
    pd.testing.assert_frame_equal(first.train, uncached.train)
    take_rows(table, cache, sample_size=100)
    assert len(list(cache.glob("*.parquet"))) == 2
    pd.read_csv(table).iloc[1:].to_csv(table, index=False)
    take_rows(table, cache)
    assert len(list(cache.glob("*.parquet"))) == 3


def test_a_damaged_cache_is_prepared_anew(cancer, tmp_path):
    first = take_rows(cancer / "all.csv", tmp_path)
    for ending in ("parquet", "json"):
        (entry,) = tmp_path.glob(f"*.{ending}")
        entry.write_bytes(b"half a fi")
        pd.testing.assert_frame_equal(take_rows(cancer / "all.csv", tmp_path).train, first.train)


def test_the_cache_does_not_grow_for_ever(cancer, tmp_path):
    for seed in range(ENTRIES + 3):
        take_rows(cancer / "all.csv", tmp_path, random_state=seed)
    assert len(list(tmp_path.glob("*.parquet"))) == ENTRIES


def test_a_cache_that_cannot_be_written_is_done_without(cancer, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert len(take_rows(cancer / "all.csv", tmp_path / "file" / "cache").train)


def test_no_held_out_row_is_learned_from(cancer):
    settings = {"task": "auto", "sample_size": None, "random_state": 0, "cache_dir": None}
    data = preview_data(cancer / "all.csv", cancer / "table.csv", "target", **settings)
    columns = list(data.held_out)
    learned = pd.concat([data.train, data.new])[columns]
    both = pd.concat([learned, data.held_out]).duplicated(keep=False)
    assert not both.any()


def test_the_held_out_rows_of_a_full_run_include_those_of_the_preview(cancer):
    small, full = (take_rows(cancer / "all.csv", None, sample_size=size) for size in (200, None))
    for part in ("train", "held_out"):
        together = pd.concat([getattr(full, part), getattr(small, part)])
        assert together.duplicated().sum() == len(getattr(small, part))


def test_a_sample_keeps_the_strata():
    strata = np.repeat([0, 1, 2], [900, 99, 1])
    kept = sample(strata, 100, np.random.default_rng(0))
    counts = np.bincount(strata[kept])
    assert counts[0] in (90, 91)
    assert counts[1] in (9, 10)
    assert counts[2] == 1
    assert (sample(strata, 2000, np.random.default_rng(0)) == np.arange(1000)).all()


def once(score, n_rows):
    """Return the scores on all rows."""
    return {name: values.item() for name, values in score(np.ones((1, n_rows), int)).items()}


@pytest.mark.parametrize("n_classes", [2, 4])
def test_scores_of_classes_are_those_of_scikit_learn(n_classes):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(n_classes), 200).round(2) + 0.001  # with ties
    proba /= proba.sum(axis=1, keepdims=True)
    codes = rng.integers(n_classes, size=200)
    found = once(_comparison.ClassScores(codes, proba), 200)
    shown = proba[:, 1] if n_classes == 2 else proba
    # brier_score_loss of more than two classes came with scikit-learn 1.7
    squares = ((proba - np.eye(n_classes)[codes]) ** 2).sum(axis=1).mean()
    brier = brier_score_loss(codes, shown) if n_classes == 2 else squares
    assert found == pytest.approx(
        {
            "neg_log_loss": -log_loss(codes, proba),
            "neg_brier_score": -brier,
            "roc_auc": roc_auc_score(codes, shown, multi_class="ovr"),
            "accuracy": accuracy_score(codes, proba.argmax(1)),
        },
        rel=1e-5,
    )


def test_scores_of_quantities_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y, predicted = rng.normal(size=(2, 100))
    assert once(_comparison.QuantityScores(y, predicted), 100) == pytest.approx(
        {
            "neg_root_mean_squared_error": -root_mean_squared_error(y, predicted),
            "neg_mean_absolute_error": -mean_absolute_error(y, predicted),
            "r2": r2_score(y, predicted),
        }
    )


def test_the_interval_holds_what_the_population_says():
    """Of many small samples, about 95 % of the intervals hold the delta of a large one."""
    rng = np.random.default_rng(0)

    def draw(n):
        y = rng.normal(size=n)
        return y, y + rng.normal(size=n), y + 0.8 * rng.normal(size=n)

    truth = _comparison.compare(*draw(100_000), n_resamples=2).metrics
    held = []
    for seed in range(60):
        found = _comparison.compare(*draw(150), n_resamples=200, random_state=seed).metrics
        low, high = found["neg_mean_absolute_error"].interval
        held.append(low <= truth["neg_mean_absolute_error"].delta <= high)
    assert 0.86 <= np.mean(held) <= 1


def test_equal_models_make_no_difference():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), 50)
    same = _comparison.compare(rng.integers(3, size=50), proba, proba, n_resamples=20)
    assert (same.combined, same.interval, same.confidence) == (0, (0, 0), 1)


@pytest.mark.parametrize("n_rows", [1, 2, 4])
def test_a_few_rows_are_compared_without_a_word(n_rows):
    """Resamples without a second class, or of rows that are all alike, have no area and no R²."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(2), (2, n_rows))
    found = _comparison.compare(np.arange(n_rows) % 2, *proba, n_resamples=50)
    assert np.isfinite([found.combined, *found.interval]).all()
    assert np.isnan(found.metrics["roc_auc"].delta) == (n_rows == 1)
    y, *predicted = rng.normal(size=(3, n_rows)) + 1e3
    low, high = _comparison.compare(y, *predicted, n_resamples=50).metrics["r2"].interval
    assert np.isnan(low) if n_rows == 1 else low <= high


def test_resamples_are_draws_of_rows():
    """As a loop that takes the rows of each draw would score them."""
    rng = np.random.default_rng(0)
    proba, codes = rng.dirichlet(np.ones(3), 60).round(1) + 0.01, rng.integers(3, size=60)
    rows = rng.integers(60, size=(5, 60))
    found = _comparison.ClassScores(codes, proba)(_comparison.counts_of(rows, 60))
    for draw, one in enumerate(rows):
        alone = once(_comparison.ClassScores(codes[one], proba[one]), 60)
        assert {name: values[draw] for name, values in found.items()} == pytest.approx(alone)


def test_a_perfect_candidate_takes_all_of_the_error_away():
    codes = np.arange(40) % 2
    perfect, coin = np.eye(2)[codes], np.full((40, 2), 0.5)
    found = _comparison.compare(codes, coin, perfect, n_resamples=20)
    assert found.combined == pytest.approx(1)
    assert _comparison.compare(codes, perfect, coin, n_resamples=20).combined == pytest.approx(-1)


@pytest.mark.slow
@pytest.mark.skipif(not DEVELOPMENT_TABLES.is_dir(), reason="the development tables are not here")
@pytest.mark.parametrize("name", ["telco_churn", "house_prices"])
def test_the_development_tables(name):
    result = valid(
        preview(
            DEVELOPMENT_TABLES / f"{name}.csv",
            target="target",
            sample_size=200,
            cache_dir=None,
            **QUICK,
        )
    )
    assert result["sample_size_used"] <= 210

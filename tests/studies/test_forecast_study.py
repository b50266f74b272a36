"""Studies of forecasts: which periods train, what is scored, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

from finetune_tabpfn.cli import main
from finetune_tabpfn.forecasting import TimeSplit, backtest, new_forecaster
from finetune_tabpfn.studies import Range, Study, StudyAnalyzer, search_space
from made_up_study import experiment

QUICK = {"base_model": "mini", "max_steps": 2, "n_estimators": 1}
HORIZON = {**QUICK, "prediction_length": 6}


def sales(n=132, seed=0):
    month = np.arange(n)
    rng = np.random.default_rng(seed)
    y = 100 * np.exp(0.004 * month + 0.2 * np.sin(2 * np.pi * month / 12))
    table = pd.DataFrame({"y": y * (1 + 0.03 * rng.normal(size=n)), "rain": rng.normal(size=n)})
    return table.set_index(pd.date_range("2012-01-01", periods=n, freq="MS", name="month"))


TABLE = sales()
TRAIN, VALIDATION, TEST = TABLE[:96], TABLE[96:114], TABLE[114:]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Give a study with a grid of two forecasters."""
    study = Study(tmp_path_factory.mktemp("study"), task="forecasting")
    study.grid_search(
        {"fine_tune_lr": [1e-4, 1e-3]},
        TRAIN,
        VALIDATION,
        TEST,
        target="y",
        parameters={**HORIZON, "past_covariates": ["rain"]},
    )
    return study


@pytest.mark.slow
def test_three_tables_come_to_the_metrics_of_forecasts(searched):
    table = searched.compare()
    for part in ("train", "validation", "test"):
        for metric in ("mae", "rmse", "mase", "directional_accuracy", "wql"):
            assert np.isfinite(table[f"{part}_{metric}"]).all()
    assert list(table["hp_learning_rate"]) == [1e-4, 1e-3]  # by the name that it has here
    best = searched.best()
    assert best.metric("validation_mase") == table["validation_mase"].min()
    assert searched.best("val_mae").metric("validation_mae") == table["validation_mae"].min()


def test_the_model_that_is_kept_forecasts_what_comes_after_the_validation_rows(searched):
    model = searched.best().load_model()
    assert model.predict(3).index[0] == TEST.index[0]
    assert model.regressor_.validation.test_size == len(VALIDATION)


@pytest.mark.slow
def test_a_test_metric_is_that_of_a_backtest_that_trains_once(tmp_path):
    """Of the base model, to which the weights do not matter."""
    one = Study(tmp_path, task="forecasting", save_models=False).run_experiment(
        TRAIN, VALIDATION, TEST, target="y", parameters={**HORIZON, "max_steps": 0}
    )
    model = new_forecaster({**HORIZON, "max_steps": 0, "random_state": 0})
    same = backtest(model, TABLE, "y", 6, n_windows=3, refit=False)
    assert one.test["mae"] == pytest.approx(same.metrics["mae"], rel=0.1)


@pytest.mark.slow
def test_later_rows_change_nothing_before_them(tmp_path):
    changed = TEST.assign(y=TEST["y"] * 3, rain=1e6)
    one, other = (
        Study(tmp_path / name, task="forecasting", save_models=False).run_experiment(
            TRAIN, VALIDATION, test, target="y", parameters={**HORIZON, "past_covariates": ["rain"]}
        )
        for name, test in (("one", TEST), ("other", changed))
    )
    assert one.validation == other.validation
    assert one.train == other.train
    assert one.test != other.test


def test_insights_have_regimes_and_correlations(searched):
    record = json.loads((searched.best().folder / "results.json").read_text())
    found = record["insights"]
    assert found["rows"] == {"train": 96, "validation": 18, "test": 18}
    assert found["frequency"] == "MS"
    assert found["correlations"]["autocorrelation"]["12"] > 0.9
    assert set(found["correlations"]["with_target"]) == {"rain"}
    regime = found["regimes"]["series"]["y"]
    assert regime["drift"] > 1
    assert {"volatility", "test_volatility", "high_volatility", "high_periods"} <= {*regime}


@pytest.mark.slow
def test_overfitting_is_told_by_folds_in_time(tmp_path):
    study = Study(tmp_path, task="forecasting", save_models=False)
    splitter = TimeSplit(n_splits=3, test_size=6)
    study.run_experiment(TABLE[:70], splitter, target="y", parameters=HORIZON)
    analyzer = StudyAnalyzer(study)
    assert analyzer.metric == "validation_mase"
    (row,) = analyzer.overfitting().to_dict("records")
    assert row["folds"] == 3
    assert row["overfits"] in (True, False)
    text = analyzer.report(tmp_path / "report.html").read_text()
    assert "Volatility" in text
    assert "Correlation of the target with itself" in text


def test_importance_is_told_as_for_tables(tmp_path):
    for number in range(12):
        rate = 1e-4 * (number + 1)
        parts = {part: {"mase": 1 - 100 * rate} for part in ("train", "validation", "test")}
        experiment(tmp_path, number, {"learning_rate": rate}, 0.0, task="forecasting", **parts)
    found = StudyAnalyzer(tmp_path).importance().table
    assert found["hyperparameter"].tolist() == ["learning_rate"]
    assert found["matters"].all()


def test_folds_by_time_train_on_what_lies_before(tmp_path):
    from finetune_tabpfn.studies._study_series import series_tables

    panel = pd.concat([sales(60).assign(shop="a"), sales(60, 1).assign(shop="b")]).reset_index()
    parameters = {"id_column": "shop", "prediction_length": 4}
    for splitter, sizes in ((None, [12]), (TimeSplit(n_splits=2, test_size=4, gap=3), [4, 4])):
        tables = series_tables(
            panel, splitter, None, target="y", name="shops", parameters=parameters
        )
        assert [tables.fold(k)[1]["month"].nunique() for k in range(tables.n_folds)] == sizes
        for train, held_out in map(tables.fold, range(tables.n_folds)):
            assert train["month"].max() < held_out["month"].min()
            assert set(held_out["shop"]) == {"a", "b"}


@pytest.mark.slow
def test_optuna_searches_and_a_grid_is_refined(tmp_path):
    pytest.importorskip("optuna")
    study = Study(tmp_path, task="forecasting", save_models=False)
    shared = {"target": "y", "parameters": HORIZON}
    found = study.optuna_search(
        {"fine_tune_lr": Range(1e-4, 1e-3, log=True)}, TABLE[:60], n_trials=2, **shared
    )
    assert len({one.parameters["learning_rate"] for one in found}) == 2
    found = study.grid_search({"context_length": [40, 80]}, TABLE[:70], refine=1, **shared)
    assert {one.parameters["context_length"] for one in found} >= {40, 60, 80}
    assert set(search_space("forecasting")) > {"learning_rate", "detrend"}


@pytest.mark.parametrize(
    ("tables", "parameters", "sentence"),
    [
        ((TRAIN, None), QUICK, "prediction_length=None: give it among parameters"),
        ((TRAIN, KFold(3)), HORIZON, "trains on rows that lie after rows to validate on"),
        ((TRAIN, TABLE[90:]), HORIZON, "validation begins at 2019-07-01 .* after all of train"),
        ((TRAIN, None, VALIDATION[["rain"]]), HORIZON, "test lacks the column 'y', which train"),
        ((TRAIN.reset_index(drop=True), None), HORIZON, "X has none .*; name the column"),
        ((TRAIN, None), {**HORIZON, "n_folds": 3}, "n_folds=3, which a study decides"),
        ((TRAIN, None), {**HORIZON, "n_validation_windows": 2}, "which a study decides"),
        ((TRAIN, None), {**HORIZON, "class_weight": "balanced"}, "parameters hold 'class_weight'"),
        (
            (TRAIN, None),
            {**HORIZON, "horizon": 3},
            "prediction_length=6 say the same",
        ),
        ((TRAIN, None), {**HORIZON, "lora_rank": 3}, 'lora_rank=3 is for tuning="lora"'),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(tmp_path, tables, parameters, sentence):
    study = Study(tmp_path, task="forecasting")
    with pytest.raises(ValueError, match=sentence):
        study.run_experiment(*tables, target="y", parameters=parameters)
    assert not list(tmp_path.iterdir())


def test_what_is_forecast_is_not_varied(tmp_path):
    study = Study(tmp_path, task="forecasting")
    with pytest.raises(ValueError, match="prediction_length=3 is varied; give it among parameters"):
        study.grid_search({"horizon": [3, 6]}, TRAIN, target="y", parameters=HORIZON)


@pytest.mark.slow
def test_the_command(tmp_path, capsys):
    TABLE[:70].to_csv(tmp_path / "sales.csv")
    words = ["study", "run", tmp_path / "study", tmp_path / "sales.csv", "--target", "y", "--json"]
    words += ["--prediction-length", "6", "--vary", "learning_rate=1e-4,1e-3", "--no-models"]
    words += ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--quiet"]
    assert main([str(word) for word in words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metric"] == "validation_mase"
    assert len(told["experiments"]) == 2
    assert main([str(word) for word in [*words, "--task", "regression"]]) == 1
    assert "--prediction-length is for --task forecasting" in capsys.readouterr().err
    folded = [*words, "--folds", "3"]
    assert main([str(word) for word in folded]) == 0
    found = Study(tmp_path / "study").load()
    assert [len(one.folds) for one in found] == [1, 1, 3, 3]

"""Forecasts from the command line and from a configuration file."""

import json

import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn.cli import main

QUICK = ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--random-state", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast")
    days = pd.date_range("2024-01-01", periods=100)
    y = 10 + np.sin(np.arange(100) * 2 * np.pi / 7)
    table = pd.DataFrame({"day": days, "open": days.day_of_week < 5, "y": y})
    table.to_csv(folder / "visits.csv", index=False)
    (folder / "run.yaml").write_text(
        f"data: {{path: {folder}/visits.csv, target: y, task: forecasting, drop: [open]}}\n"
        "base_model: mini\n"
        "finetuning: {max_steps: 2, n_estimators: 1, random_state: 0}\n"
        "forecasting: {time_column: day, prediction_length: 7, n_windows: 2}\n"
        f"output: {{folder: {folder}/runs}}\n"
    )
    return folder


def call(*words):
    return main([str(word) for word in words])


def test_fit_and_predict(folder, capsys):
    table, model = folder / "visits.csv", folder / "model.joblib"
    series = ["--time-column", "day", "--prediction-length", "5", "--covariates", "open"]
    assert call("fit", table, "--target", "y", "--out", model, *series, *QUICK, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["task"] == "forecasting"
    assert told["horizon"] == 5
    days = pd.date_range("2024-04-10", periods=5)
    future = pd.DataFrame({"day": days, "open": days.day_of_week < 5})
    future.to_csv(folder / "future.csv", index=False)
    assert call("predict", model, folder / "future.csv", "--out", folder / "out.csv") == 0
    found = pd.read_csv(folder / "out.csv")
    assert found["day"].tolist() == days.strftime("%Y-%m-%d").tolist()
    assert found.columns.tolist() == ["day", "forecast", "0.1", "0.5", "0.9"]


def test_a_run_backtests_fits_forecasts_and_reports(folder, capsys):
    assert call("run", folder / "run.yaml", "--quiet", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    made = {file.name for file in (folder / "runs" / "run" / told["run"]).iterdir()}
    assert made >= {
        "backtest.csv",
        "config.yaml",
        "estimator.joblib",
        "forecast.csv",
        "forecast.png",
        "metrics.json",
        "report.md",
    }
    assert set(told["test"]) == {"base", "deployed", "seasonal naive"}
    assert told["test"]["deployed"]["mae"] < 1
    report = (folder / "runs" / "run" / "best" / "report.md").read_text()
    for heading in ("# Forecasts of y", "## Backtest", "## Regimes"):
        assert heading in report
    rows = pd.read_csv(folder / "runs" / "run" / "best" / "backtest.csv")
    assert rows.groupby("model").size().unique() == [14]
    forecast = pd.read_csv(folder / "runs" / "run" / "best" / "forecast.csv")
    assert forecast["day"].iloc[0] == "2024-04-10"


def test_a_dry_run_says_what_a_run_would_do(folder, capsys):
    assert call("run", folder / "run.yaml", "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["task"] == "forecasting"
    assert told["n_fits"] == 2  # one of the backtest, which trains before its first window alone
    assert told["rows"]["hold-out"] == 21  # three horizons of a hundred days
    assert told["step_seconds"] > 0
    refit = ["--set", "forecasting.refit=true"]
    assert call("run", folder / "run.yaml", "--dry-run", *refit) == 0
    said = capsys.readouterr().out
    assert "with 2 for the backtest" in said
    assert "would write to" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "data.group=open"], "data.group is not for data.task=forecasting"),
        (["--set", "forecasting.prediction_length=none"], "say how many periods"),
        (["--set", "forecasting.prediction_length=80"], "leave 0 of 100 periods"),
        (["--set", "forecasting.horizon=3"], "forecasting holds 'horizon'"),
        (["--dry-run", "--set", "forecasting.prediction_length=80"], "leave 0 of 100 periods"),
        (["--dry-run", "--set", "forecasting.prediction_length=24"], "is longer than 52 stamps"),
    ],
)
def test_what_a_run_cannot_do_gets_a_sentence(folder, capsys, words, sentence):
    assert call("run", folder / "run.yaml", *words) == 1
    assert sentence in capsys.readouterr().err


def test_options_that_do_not_go_together_get_a_sentence(folder, capsys):
    fit = ["fit", folder / "visits.csv", "--target", "y", "--out", folder / "x.joblib", *QUICK]
    assert call(*fit, "--time-column", "day", "--n-folds", "2") == 1
    assert "--n-folds is not for forecasts" in capsys.readouterr().err
    assert call(*fit, "--time-column", "day", "--task", "regression") == 1
    assert "--time-column is for --task forecasting" in capsys.readouterr().err
    assert call(*fit, "--time-column", "day") == 1
    assert "horizon=None: say how many periods" in capsys.readouterr().err

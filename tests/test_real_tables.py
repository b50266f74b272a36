"""The program on real tables, as a user would call it.

The tables are not part of this repository: a folder of CSV files whose target is called `target`,
named by the environment variable FINETUNE_TABPFN_TABLES or lying beside the checkout.
"""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from finetune_tabpfn.cli import main

BESIDE = Path(__file__).parents[2] / "shared" / "data"
TABLES = Path(os.environ.get("FINETUNE_TABPFN_TABLES", BESIDE))
QUICK = ["--base-model", "mini", "--n-estimators", "1", "--max-steps", "2", "--random-state", "0"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TABLES.is_dir(), reason="no folder of real tables"),
]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call the program in an empty folder and return what it said on stdout."""
    monkeypatch.chdir(tmp_path)

    def called(*arguments):
        status = main([*map(str, arguments)])
        said = capsys.readouterr()
        assert status == 0, said.err
        return said.out

    return called


def test_fit_predict_export(run, tmp_path):
    data, target = TABLES / "credit_g.csv", "target"
    fitted = run("fit", data, "--target", target, "--out", "m.joblib", "--json", *QUICK)
    assert json.loads(fitted)["rows"] == 1000
    run("predict", "m.joblib", data, "--out", "p.csv")
    hits = pd.read_csv(tmp_path / "p.csv")["prediction"] == pd.read_csv(data)[target]
    assert hits.mean() > 0.7
    exported = run("export", "m.joblib", "--out", "credit-v3.safetensors")
    assert "TabPFNClassifier(model_path='credit-v3.safetensors') uses it" in exported
    # and this package goes on from it
    again = ["fit", data, "--target", target, "--out", "n.joblib", *QUICK[2:]]
    said = run(*again, "--base-model", "credit-v3.safetensors")
    assert "base model credit-v3.safetensors" in said


@pytest.mark.parametrize(
    ("table", "task", "metric"),
    [
        ("winequality_red", "classification", "accuracy"),
        ("soybean", "classification", "accuracy"),
        ("hypothyroid", "classification", "log_loss"),
        ("auto_mpg", "regression", "r2"),
    ],
)
def test_run(table, task, metric, run, tmp_path):
    (tmp_path / "run.yaml").write_text(
        f"data: {{path: {TABLES}/{table}.csv, target: target}}\nbase_model: mini\n"
        f"finetuning: {{max_steps: 2, n_estimators: 1, random_state: 0}}\n"
        f"output: {{experiment: {table}}}\n"
    )
    planned = json.loads(run("run", "run.yaml", "--dry-run", "--json"))
    result = json.loads(run("run", "run.yaml", "--json"))
    assert result["task"] == planned["task"] == task
    assert metric in result["test"]["deployed"]
    rows = pd.read_csv(TABLES / f"{table}.csv")
    assert sum(planned["rows"].values()) == sum(result["rows"].values()) == len(rows)
    best = tmp_path / "runs" / table / "best"
    assert (best / "metrics.json").is_file()
    assert (best / "curve.png").is_file()


def test_prepare_and_evaluate(run, tmp_path):
    data = TABLES / "soybean.csv"
    made = json.loads(run("prepare", data, "--target", "target", "--out", "beans", "--json"))
    rows = {
        part: len(pd.read_csv(tmp_path / "beans" / f"{part}.csv")) for part in ("train", "test")
    }
    assert rows == {"train": made["train_rows"], "test": made["test_rows"]}
    fit = ["fit", "beans/train.csv", "--target", "target", "--out", "beans.joblib", *QUICK]
    run(*fit)
    found = json.loads(
        run(
            *["evaluate", "beans.joblib", "beans/test.csv", "--target", "target"],
            *["--out", "report", "--json"],
        )
    )
    assert found["rows"] == rows["test"]
    assert found["metrics"]["accuracy"] > 0.6
    assert found["metrics"]["top_3_accuracy"] >= found["metrics"]["accuracy"]
    assert len((tmp_path / "report" / "rows.jsonl").read_text().splitlines()) == rows["test"]


def test_preview(run):
    command = ["preview", TABLES / "telco_churn.csv", "--target", "target"]
    options = ["--base-model", "mini", "--test-mode", "--output-format", "json", "--no-cache"]
    found = json.loads(run(*command, *options))
    assert found["preview_mode"] is True
    assert found["notice"] == "PREVIEW - NON-BINDING ESTIMATE"
    assert set(found["metrics"]) >= {"roc_auc", "accuracy"}

"""`run`, `export`, `info`, `schema` and results as JSON."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris
from tabpfn import TabPFNClassifier
from tabpfn.settings import settings

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.cli import main
from finetune_tabpfn.models import _base_models
from finetune_tabpfn.runs._config import json_schema, load_config
from plain import plain

PROGRAM = Path(sys.executable).with_name("finetune-tabpfn")
ROOT = Path(__file__).parents[2]
QUICK = ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--random-state", "0"]
FILES = {
    "config.yaml",
    "curve.png",
    "estimator.joblib",
    "history.csv",
    "log.jsonl",
    "metrics.json",
    "model-v3.safetensors",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a folder with tables and a configuration."""
    folder = tmp_path_factory.mktemp("work")
    data = load_iris(as_frame=True)
    flowers = data.frame.rename(columns={"target": "kind"})
    flowers["kind"] = data.target_names[flowers["kind"]]
    flowers["place"] = [f"field {i % 10}" for i in range(150)]
    flowers["number"] = range(150)
    flowers.to_csv(folder / "flowers.csv", index=False)
    load_diabetes(as_frame=True).frame.to_parquet(folder / "sugar.parquet")
    (folder / "flowers.yaml").write_text(
        f"data: {{path: {folder}/flowers.csv, target: kind, drop: [number], group: place}}\n"
        "base_model: mini\n"
        "finetuning: {max_steps: 2, n_estimators: 1, random_state: 0}\n"
        "logging: {loggers: [jsonl]}\n"
        f"output: {{folder: {folder}/runs}}\n"
    )
    return folder


def call(*arguments):
    return main([*map(str, arguments)])


@pytest.fixture(scope="module")
def first_run(folder):
    """Give what a run printed as JSON, on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        assert call("run", folder / "flowers.yaml", "--json") == 0
    return json.loads(out.getvalue()), err.getvalue()


def test_a_run_leaves_all_of_it_in_a_folder_of_its_own(folder, first_run):
    result, told = first_run
    run = Path(result["folder"])
    assert run.parent == folder / "runs" / "flowers"
    assert {file.name for file in run.iterdir()} == FILES
    assert set(result["files"]) == FILES - {"metrics.json"}
    assert "fine-tuning" in told  # progress is no result
    made = {path.name for path in folder.iterdir()}
    assert made == {"flowers.csv", "flowers.yaml", "sugar.parquet", "runs"}
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_run_writes_agrees_with_what_it_says(first_run):
    result, _ = first_run
    run = Path(result["folder"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics.items() <= result.items()
    assert metrics["rows"] == {"train": 120, "test": 30}
    assert metrics["columns"] == 4  # neither the dropped column, nor that of groups
    assert set(metrics["test"]["deployed"]) == {"score", "log_loss", "accuracy", "roc_auc"}
    assert metrics["hold_out"]["deployed"]["score"] >= metrics["hold_out"]["base"]["score"]
    history = pd.read_csv(run / "history.csv")
    assert list(history["step"]) == [0, 2]
    assert history["score"][0] == pytest.approx(metrics["hold_out"]["base"]["score"])
    assert load_config(run / "config.yaml").parameters["max_steps"] == 2


def test_the_models_of_a_run_predict_alike(folder, first_run):
    run = Path(first_run[0]["folder"])
    estimator = joblib.load(run / "estimator.joblib")
    assert isinstance(estimator, FinetunedTabPFNClassifier)
    X = pd.read_csv(folder / "flowers.csv").iloc[:, :4]
    y = pd.read_csv(folder / "flowers.csv")["kind"]
    again = plain(TabPFNClassifier, run / "model-v3.safetensors", n_estimators=1)
    agree = again.fit(X, y).predict(X) == estimator.predict(X)
    assert agree.mean() > 0.95  # fitted to all rows and to those of training


def test_the_resolved_configuration_runs_again(folder, first_run, capsys):
    first = first_run[0]
    config = Path(first["folder"]) / "config.yaml"
    assert call("run", config, "--json", "--quiet") == 0
    said = capsys.readouterr()
    again = json.loads(said.out)
    assert said.err == ""
    assert again["test"] == first["test"]
    assert again["experiment"] == "flowers"
    assert again["best"] == first["folder"]  # as good, and earlier
    assert os.readlink(folder / "runs" / "flowers" / "best") == first["run"]


def test_the_command_line_overrides_the_file(folder, capsys):
    over = ["--set", "finetuning.max_steps=1", "--set", "data.group=none", "--experiment", "other"]
    asked = ["--test-fraction", "0", "--max-steps", "0", "--drop", "number,place"]
    assert call("run", folder / "flowers.yaml", *over, *asked, "--quiet") == 0
    said = capsys.readouterr().out
    assert "rows: 150 train; base model mini" in said
    assert "hold-out neg_log_loss" in said
    assert "deployed: base; 0 steps, stopped by max_steps" in said
    run = next((folder / "runs" / "other").glob("2*"))
    assert json.loads((run / "metrics.json").read_text())["test"] is None
    assert (run.parent / "best").resolve() == run


def test_a_regression_with_tables_of_its_own_to_validate_and_test_on(folder, capsys):
    whole = pd.read_parquet(folder / "sugar.parquet")
    whole[:100].to_csv(folder / "val.csv", index=False)
    whole[100:200].to_csv(folder / "test.csv", index=False)
    path = folder / "sugar.yaml"
    path.write_text(
        f"data: {{path: {folder}/sugar.parquet, target: target, test_path: {folder}/test.csv, "
        f"validation_path: {folder}/val.csv}}\n"
        f"output: {{folder: {folder}/runs, best_by: test}}\nlogging: {{level: INFO}}\n"
    )
    assert call("run", path, *QUICK, "--json", "--quiet", "--n-folds", "1") == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["rows"] == {"train": 442, "validation": 100, "test": 100}
    assert set(result["test"]["base"]) == {"score", "rmse", "mae", "r2"}
    assert result["best"] == result["folder"]


@pytest.mark.slow
def test_the_base_model_of_the_comparison_has_the_weights_of_the_rows_too(tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=400), "trusted": rng.integers(0, 2, size=400)})
    table["label"] = np.where((table["x"] > 0) == (table["trusted"] == 1), "up", "down")
    table[:300].to_csv(tmp_path / "table.csv", index=False)
    table[300:].query("trusted == 1").to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "run.yaml").write_text(
        f"data: {{path: {tmp_path}/table.csv, test_path: {tmp_path}/test.csv, target: label, "
        "weight: trusted}\n"
        "base_model: mini\n"
        "finetuning: {max_steps: 6, eval_interval: 1, n_estimators: 1, random_state: 0, "
        "min_gain_se: 0}\n"
        f"output: {{folder: {tmp_path}/runs}}\n"
    )
    assert call("run", tmp_path / "run.yaml", "--quiet", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["deployed_weights"] != "base"
    assert result["test"]["base"]["accuracy"] > 0.9  # half of the labels without weight are wrong


@pytest.mark.parametrize(
    "given",
    [
        ["--class-weight", '{"1": 9}'],
        ["--set", "finetuning.class_weight={1: 9}"],
        "{1: 9}",
        "{'1': 9}",
    ],
)
def test_class_weights_from_everywhere(given, tmp_path, capsys):
    table = pd.DataFrame({"x": np.arange(60.0) % 7, "y": np.arange(60) % 2})
    table.to_csv(tmp_path / "table.csv", index=False)
    in_file, options = (given, []) if isinstance(given, str) else ("null", given)
    (tmp_path / "run.yaml").write_text(
        f"data: {{path: {tmp_path}/table.csv, target: y}}\n"
        "base_model: mini\n"
        f"finetuning: {{max_steps: 0, n_estimators: 1, class_weight: {in_file}}}\n"
        f"output: {{folder: {tmp_path}/runs}}\n"
    )
    assert call("run", tmp_path / "run.yaml", "--quiet", "--json", *options) == 0
    folder = Path(json.loads(capsys.readouterr().out)["folder"])
    assert joblib.load(folder / "estimator.joblib").class_weight_.tolist() == [1, 9]


def test_folds_have_a_checkpoint_too(folder, capsys):
    over = ["--n-folds", "2", "--experiment", "folds", "--group", "none", "--drop", "place"]
    assert call("run", folder / "flowers.yaml", *over, "--json", "--quiet") == 0
    files = set(json.loads(capsys.readouterr().out)["files"])
    assert files == FILES - {"metrics.json"}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(folder, capsys):
    dry = ["--dry-run", "--experiment", "dry"]
    assert call("run", folder / "flowers.yaml", *dry, "--time-limit", "40") == 0
    said = capsys.readouterr().out
    assert "classification of 'kind' with 3 classes: 4 columns" in said
    assert "base model mini, licence Apache-2.0" in said
    assert "would write to" in said
    assert not (folder / "runs" / "dry").exists()
    assert call("run", folder / "flowers.yaml", *dry, "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert sum(planned["rows"].values()) == 150
    assert planned["max_steps"] == 2
    assert 0 < planned["step_seconds"] < planned["most_seconds"] < 60
    assert 100 < planned["memory_mb"] < 20_000


def test_checking_a_file_prints_it_in_full(folder, tmp_path, capsys):
    over = ["--patience", "7", "--validate-config"]
    assert call("run", folder / "flowers.yaml", *over) == 0
    (tmp_path / "full.yaml").write_text(capsys.readouterr().out)
    assert load_config(tmp_path / "full.yaml").parameters["patience"] == 7
    assert call("run", folder / "flowers.yaml", *over, "--json") == 0
    assert json.loads(capsys.readouterr().out)["finetuning"]["patience"] == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "finetuning.lerning_rate=1"], "did you mean 'learning_rate'?"),
        (["--path", "no.csv"], "no.csv is not a file"),
        (["--target", "king"], "There is no column 'king'"),
        (["--group", "farm"], "data.group: 'farm' is not a column of"),
        (["--test-path", "{folder}/less.csv"], "lacks the column 'sepal length (cm)'"),
        (["--validation-path", "{folder}/new.csv"], "holds the label 'lily', which"),
        (["--base-model", "v9"], "base_model='v9' is neither a file nor one of"),
        (["--loggers", "smoke"], "loggers='smoke' is none of"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_what_cannot_be_run(arguments, message, dry, folder, tmp_path, capsys):
    if dry and "--loggers" in arguments:
        pytest.skip("a dry run opens no logger")
    flowers = pd.read_csv(folder / "flowers.csv")
    flowers.iloc[:, 1:].to_csv(tmp_path / "less.csv", index=False)
    flowers.assign(kind="lily").to_csv(tmp_path / "new.csv", index=False)
    arguments = [argument.format(folder=tmp_path) for argument in arguments]
    assert call("run", folder / "flowers.yaml", *arguments, *dry, "--folder", tmp_path) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("finetune-tabpfn: error: ")
    assert message in said.err
    assert said.err.count("\n") == 1


def test_fit_predict_and_export_as_json(folder, tmp_path, capsys):
    model, network = tmp_path / "m.joblib", tmp_path / "m-v3.safetensors"
    data = folder / "flowers.csv"
    assert call("fit", data, "--target", "kind", "--out", model, *QUICK, "--quiet", "--json") == 0
    fitted = json.loads(capsys.readouterr().out)
    assert fitted["task"] == "classification"
    assert fitted["base_model"]["name"] == "mini"
    assert fitted["parameters"]["max_steps"] == 2
    assert call("predict", model, data, "--out", tmp_path / "p.csv", "--json") == 0
    predicted = json.loads(capsys.readouterr().out)
    assert predicted["rows"] == 150
    assert predicted["columns"][0] == "prediction"
    assert call("export", model, "--out", network, "--json") == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["licence"] == "Apache-2.0"
    assert exported["path"] == str(network)
    X = pd.read_csv(data).drop(columns="kind")
    again = plain(TabPFNClassifier, network, n_estimators=1)
    again.fit(X, pd.read_csv(data)["kind"])
    proba = pd.read_csv(tmp_path / "p.csv").iloc[:, 1:].to_numpy()
    np.testing.assert_allclose(again.predict_proba(X), proba, rtol=1e-3, atol=1e-5)


def test_what_cannot_be_exported(folder, tmp_path, capsys):
    joblib.dump(TabPFNClassifier(), tmp_path / "other.joblib")
    for model, out, message in [
        (folder / "flowers.csv", "m.ckpt", "is not a fitted estimator"),
        (tmp_path / "other.joblib", "m.ckpt", "is not a fitted estimator"),
        (tmp_path / "no.joblib", "m.ckpt", "is not a file"),
    ]:
        assert call("export", model, "--out", tmp_path / out) == 1
        assert message in capsys.readouterr().err


def test_info(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings.tabpfn, "model_cache_dir", tmp_path)
    assert call("info") == 0
    assert 'base_model="auto" for classification: mini' in capsys.readouterr().out
    (tmp_path / "tabpfn-v2-classifier-finetuned-zk73skhh.ckpt").write_bytes(b"")
    assert call("info", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["auto"]["classification"]["name"] == "v2"
    assert "is not in TabPFN's cache and v2 is" in found["auto"]["classification"]["why"]
    assert found["auto"]["regression"]["name"] == "mini"
    here = {model["name"]: model["here"] for model in found["base_models"]}
    assert here["v2"] == ["classification"]
    assert set(here) == {"mini", *_base_models.LICENCES}
    assert found["cache"] == str(tmp_path)
    assert found["device"]["device"]
    if "mlflow-skinny" in here_installed() and "mlflow" not in here_installed():
        assert found["versions"]["mlflow-skinny"]
        assert "mlflow" not in found["versions"]
    assert found["versions"]["tabpfn"]


def here_installed():
    return {distribution.name for distribution in metadata.distributions()}


def test_the_schema_is_printed(capsys):
    assert call("schema") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(json_schema()))


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error():
    piped = f"{PROGRAM} schema | head -1"
    done = subprocess.run(piped, shell=True, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classify", "regress"])
def test_the_shipped_files_run(name, tmp_path, monkeypatch):
    """As the comment on top of each says, with fewer steps."""
    config = ROOT / "examples" / f"{name}.yaml"
    lines = config.read_text().splitlines()
    synth = next(line.removeprefix("#   ") for line in lines if "finetune-tabpfn synth" in line)
    commands = [synth.split()[1:], ["run", config, "--max-steps", "2", "--n-estimators", "1"]]
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert call(*command) == 0
    assert len(list(tmp_path.glob("runs/*/*/metrics.json"))) == 2  # the run and the link


@pytest.mark.filterwarnings("default")
def test_a_table_too_small_to_train_on_runs_all_the_same(tmp_path, capsys):
    frame = pd.DataFrame({"x": range(9), "y": [0, 1, 0, 1, 0, 1, 0, 1, 1]})
    frame.to_csv(tmp_path / "few.csv", index=False)
    (tmp_path / "few.yaml").write_text(
        f"data: {{path: {tmp_path}/few.csv, target: y}}\noutput: {{folder: {tmp_path}/runs}}\n"
    )
    assert call("run", tmp_path / "few.yaml", *QUICK, "--quiet") == 0
    said = capsys.readouterr()
    assert "Nothing to fine-tune on (too few rows)" in said.err
    assert "hold-out" not in said.out
    assert "deployed: base; 0 steps, stopped by too few rows" in said.out
    metrics = json.loads((tmp_path / "runs/few/best/metrics.json").read_text())
    assert metrics["hold_out"] is None
    assert metrics["test"]["base"] == metrics["test"]["deployed"]


def test_columns_named_by_numbers(tmp_path, capsys):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3))).assign(**{"3": [0, 1] * 20})
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    (tmp_path / "numbers.yaml").write_text("base_model: mini\n")
    asked = ["--path", tmp_path / "numbers.csv", "--target", "3", "--drop", "0", "--dry-run"]
    assert call("run", tmp_path / "numbers.yaml", *asked) == 0
    assert "classification of '3' with 2 classes: 2 columns" in capsys.readouterr().out

"""``-`` is standard input and output."""

import io
import json
import subprocess
import sys

import pandas as pd
import pytest
from sklearn.datasets import load_iris

from finetune_tabpfn.cli import main

QUICK = ["--base-model", "mini", "--max-steps", "0", "--n-estimators", "1", "--random-state", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a folder with flowers in three formats and a model of theirs."""
    folder = tmp_path_factory.mktemp("pipes")
    frame = load_iris(as_frame=True).frame
    frame.to_csv(folder / "flowers.csv", index=False)
    frame.to_parquet(folder / "flowers.parquet")
    frame.to_json(folder / "flowers.json", orient="records")
    frame.to_json(folder / "flowers.jsonl", orient="records", lines=True)
    frame.to_csv(folder / "flowers.csv.gz", index=False)
    fit = ["fit", str(folder / "flowers.csv"), "--target", "target", *QUICK, "--quiet"]
    assert main([*fit, "--out", str(folder / "model.joblib")]) == 0
    return folder


@pytest.fixture
def call(folder, monkeypatch, capsys):
    """Call the program with a file at its standard input."""

    def called(source, *arguments, status=0):
        content = source if isinstance(source, bytes) else (folder / source).read_bytes()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        capsys.readouterr()
        found = main([*map(str, arguments)])
        said = capsys.readouterr()
        assert found == status, said.err
        return said

    return called


@pytest.mark.parametrize(
    "name", ["flowers.csv", "flowers.csv.gz", "flowers.parquet", "flowers.json", "flowers.jsonl"]
)
def test_predictions_go_to_standard_output(name, folder, call):
    said = call(name, "predict", folder / "model.joblib", "-")
    table = pd.read_csv(io.StringIO(said.out))
    assert list(table.columns) == ["prediction", *(f"probability_{kind}" for kind in range(3))]
    assert said.err == "predicted 150 rows\n"
    out = folder / "predictions.csv"
    call(name, "predict", folder / "model.joblib", folder / name, "--out", out)
    assert out.read_text() == said.out


class Terminal(io.StringIO):
    """Where someone looks on."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("options", "shows"), [([], True), (["--quiet"], False)])
def test_a_long_prediction_shows_at_a_terminal_that_it_goes_on(
    folder, call, monkeypatch, options, shows
):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    call("flowers.csv", "predict", folder / "model.joblib", "-", "--batch-size", 100, *options)
    assert ("0/150" in terminal.getvalue()) == shows


def test_predictions_as_one_object(folder, call):
    found = json.loads(call("flowers.csv", "predict", folder / "model.joblib", "-", "--json").out)
    assert found["rows"] == len(found["table"]) == 150
    assert found["path"] is None
    assert set(found["table"][0]) == set(found["columns"])


def test_a_fit_from_standard_input(folder, call):
    out = ["--out", folder / "piped.joblib", *QUICK, "--quiet"]
    said = call("flowers.csv", "fit", "-", "--target", "target", *out)
    assert said.out.startswith("classification of 'target': 150 rows")


@pytest.mark.filterwarnings("always:.*that the model was fitted on:UserWarning")
def test_standard_input_is_called_that(folder, call):
    model = folder / "model.joblib"
    said = call("flowers.csv", "evaluate", model, "-", "--target", "target", "--quiet")
    assert "on standard input: 150 rows" in said.out
    assert "150 of 150 rows of standard input are rows that the model" in said.err
    said = call(b"a,b\n1,2\n", "predict", model, "-", status=1)
    assert said.err.startswith("finetune-tabpfn: error: standard input lacks the column")
    assert call(b"", "predict", model, "-", status=1).err.endswith("standard input is empty.\n")


def test_it_can_be_read_once(folder, call):
    given = ["-", "--base-data", "-", "--target", "target"]
    assert "can be read once" in call("flowers.csv", "preview", *given, status=1).err


def test_a_synthetic_table_and_its_twin(call):
    said = call(b"", "synth", "--out", "-", "--n-rows", 30, "--random-state", 0)
    assert said.err == "30 rows, 10 columns, target 'target'\n"
    content = said.out.encode()
    options = ["--target", "target", "--n-rows", 20, "--out", "-", "--json"]
    found = json.loads(call(content, "synth", "--like", "-", *options).out)
    assert found["rows"] == len(found["table"]) == 20


def test_a_configuration_from_standard_input(folder, call):
    config = f"data: {{path: {folder / 'flowers.csv'}, target: target}}\n".encode()
    assert "max_steps: 500" in call(config, "run", "-", "--validate-config").out


@pytest.mark.slow
def test_whoever_reads_may_stop_reading(folder):
    """As `| head -1` does."""
    program = f"{sys.executable} -W ignore -m finetune_tabpfn"
    done = subprocess.run(
        f"{program} synth --out - --n-rows 20000 | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith(",target\n")
    assert done.stderr == ""

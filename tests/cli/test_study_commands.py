"""``finetune-tabpfn study``, called as a user would."""

import json

import pandas as pd
import pytest
from sklearn.datasets import load_iris

from finetune_tabpfn.cli import main
from made_up_study import experiment

QUICK = ["--base-model", "mini", "--max-steps", "1", "--n-estimators", "1", "--no-models"]


@pytest.fixture
def call(capsys):
    """Call the program without starting a process."""

    def called(*arguments, status=0):
        try:
            found = main(["study", *map(str, arguments)])
        except SystemExit as stop:
            found = stop.code
        said = capsys.readouterr()
        assert found == status, said.err
        return said

    return called


@pytest.fixture
def flowers(tmp_path):
    frame = load_iris(as_frame=True).frame.sample(80, random_state=0)
    frame.to_csv(tmp_path / "flowers.csv", index=False)
    return tmp_path / "flowers.csv"


def search(call, folder, flowers, *options, **others):
    data = ["--train", flowers, "--target", "target"]
    return call("run", folder, *data, *QUICK, *options, **others)


@pytest.mark.slow
def test_a_search_is_run_once_and_compared(call, flowers, tmp_path):
    folder = tmp_path / "study"
    options = ["--vary", "learning_rate=1e-4,1e-3", "--search", "grid"]
    said = search(call, folder, flowers, *options)
    assert "[grid 2/2]" in said.err
    assert "best by validation_log_loss: grid_" in said.out
    again = json.loads(search(call, folder, flowers, *options, "--quiet", "--json").out)
    assert len(again["experiments"]) == 2
    assert len(list(folder.iterdir())) == 2
    call("compare", folder, "--out", tmp_path / "all.csv")
    table = pd.read_csv(tmp_path / "all.csv")
    assert table["hp_learning_rate"].tolist() == [1e-4, 1e-3]
    assert table["table"].unique() == ["flowers"]


def made_up(folder):
    for number, loss in enumerate((0.5, 0.3, 0.4)):
        experiment(folder, number, {"batch_size": number + 1}, loss)


def test_the_best_stands_first(call, tmp_path):
    made_up(tmp_path)
    shown = call("compare", tmp_path).out.splitlines()
    assert [line.split()[0] for line in shown] == ["id", "made_001", "made_002", "made_000"]
    found = json.loads(call("compare", tmp_path, "--json").out)
    assert found["experiments"][0]["hp_batch_size"] == 2


def test_a_report_is_written_beside_the_experiments(call, tmp_path):
    made_up(tmp_path)
    said = call("report", tmp_path).out
    assert "Which hyperparameters matter: Too thin to say: 3 runs, 6 are needed." in said
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--search grid needs --vary NAME=VALUES"),
        (["--vary", "learning_rate"], "must be NAME=VALUES"),
        (["--vary", "rate=1,2"], "--vary has 'rate', which is unknown"),
        (["--vary", "tuning=a..b"], "must have numbers on both sides"),
        (["--vary", "batch_size=1,2", "--folds", "1"], "--folds 1 must be 2 or more"),
        (["--vary", "batch_size=1,2", "--workers", "0"], "--workers 0 must be 1 or more"),
        (["--vary", "batch_size=0,2"], "'batch_size' parameter"),
        (["--vary", "batch_size=1..4"], "a grid needs a list of values"),
        (["--vary", "batch_size=1", "--metric", "auc"], "metric='auc' must begin with the rows"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(options, said, call, flowers, tmp_path):
    folder = tmp_path / "study"
    assert said in search(call, folder, flowers, *options, status=1).err
    assert not folder.exists()


def test_a_folder_without_experiments_is_named(call, tmp_path):
    assert "holds no experiment of a study" in call("compare", tmp_path, status=1).err

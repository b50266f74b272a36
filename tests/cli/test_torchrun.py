"""`run` and `fit` in several processes, as torchrun starts them."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
from sklearn.datasets import load_iris

from finetune_tabpfn.cli import main
from finetune_tabpfn.studies import Study
from several_processes import together

QUICK = ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--random-state", "0"]


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Give a table in a file."""
    path = tmp_path_factory.mktemp("tables") / "flowers.csv"
    load_iris(as_frame=True).frame.to_csv(path, index=False)
    return path


def config(folder, flowers):
    text = {
        "data": {"path": str(flowers), "target": "target", "test_fraction": 0.2},
        "base_model": "mini",
        "finetuning": {"max_steps": 4, "n_estimators": 2, "n_folds": 1, "random_state": 0},
        "logging": {"loggers": ["jsonl"]},
        "output": {"folder": str(folder / "runs"), "experiment": "shared"},
    }
    path = folder / "run.yaml"
    path.write_text(json.dumps(text))  # which is YAML as well
    return path


def called(*arguments):
    """Return what gives the status and the output of a command in each process."""

    def call(rank):
        with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()) as errors:
            status = main([str(argument) for argument in arguments])
        return status, said.getvalue(), errors.getvalue()

    return call


@pytest.mark.slow
def test_a_run_of_two_processes_is_one_run_with_one_answer(tmp_path, flowers):
    first, second = together(called("run", config(tmp_path, flowers), "--json"))
    assert first[0] == second[0] == 0
    assert second[1:] == ("", "")
    result = json.loads(first[1])
    assert result["n_steps"] == 4
    assert set(result["test"]) == {"base", "deployed"}
    runs = [path.name for path in (tmp_path / "runs" / "shared").iterdir()]
    assert sorted(runs) == sorted([result["run"], "best"])


@pytest.mark.slow
def test_torchrun_itself(tmp_path, flowers):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*launch, "-m", "finetune_tabpfn", "run", config(tmp_path, flowers), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("classification of 'target'") == 1
    assert len(list((tmp_path / "runs" / "shared").glob("*-*/metrics.json"))) == 1


@pytest.mark.slow
def test_a_fit_of_two_processes_saves_one_estimator(tmp_path, flowers):
    out = tmp_path / "model.joblib"
    command = called("fit", flowers, "--target", "target", "--out", out, *QUICK)
    first, second = together(command)
    assert "saved" in first[1]
    assert second == (0, "", "")
    assert out.exists()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["schema"], "schema works in one process; torchrun is for `run` and `fit`, whose train"),
        (["study", "compare", "x"], "study works in one process; torchrun is for `run` and `fit`"),
    ],
)
def test_commands_whose_work_is_not_shared_say_so(command, sentence):
    status, said, errors = together(called(*command))[0]
    assert (status, said) == (1, "")
    assert sentence in errors


def test_a_study_is_not_for_torchrun(tmp_path, flowers):
    def work(rank):
        study = Study(tmp_path / "study")
        parameters = {"base_model": "mini", "max_steps": 1}
        return study.run_experiment(flowers, target="target", parameters=parameters)

    for found in together(work):
        assert str(found).startswith("A study gives each worker of joblib an experiment of its own")
    assert not (tmp_path / "study").exists()


def test_forecasts_are_refused(flowers, tmp_path):
    command = called("fit", flowers, "--target", "target", "--task", "forecasting", "--out",
                     tmp_path / "x.joblib")  # fmt: skip
    status, _, errors = together(command)[0]
    assert status == 1
    assert "--task forecasting works in one process; without torchrun it would do." in errors


@pytest.mark.slow
def test_a_wrong_value_is_named_by_each_process_that_has_it(flowers, tmp_path):
    command = called("fit", flowers, "--target", "target", "--out", tmp_path / "x.joblib", *QUICK,
                     "--batch-size", "1")  # fmt: skip
    first, second = together(command)
    assert first[2].startswith("finetune-tabpfn: error: batch_size=1 leaves some of the 2 process")
    assert second[2].startswith("finetune-tabpfn: error (process 1 of 2): batch_size=1 leaves")

"""The program, called as a user would: in this process, but where the process is the question."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris
from tabpfn import TabPFNClassifier

from finetune_tabpfn.cli import main
from finetune_tabpfn.synthetic import Schema, make_table

PROGRAM = Path(sys.executable).with_name("finetune-tabpfn")
QUICK = ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--random-state", "0"]


@pytest.fixture
def call(capsys):
    """Call the program without starting a process."""

    def called(*arguments, status=0):
        try:
            found = main([*map(str, arguments)])
        except SystemExit as stop:
            found = stop.code
        said = capsys.readouterr()
        assert found == status, said.err
        return said

    return called


@pytest.fixture
def flowers(tmp_path):
    data = load_iris(as_frame=True)
    frame = data.frame.rename(columns={"target": "kind"})
    frame["kind"] = data.target_names[frame["kind"]]
    frame.to_csv(tmp_path / "flowers.csv", index=False)
    return tmp_path / "flowers.csv"


@pytest.mark.slow
def test_the_installed_program_fits_and_this_process_predicts(flowers, tmp_path, call):
    model, predictions = tmp_path / "model.joblib", tmp_path / "predictions.csv"
    command = [PROGRAM, "fit", flowers, "--target", "kind", "--out", model, *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "classification of 'kind': 150 rows, 4 columns, base model mini" in done.stdout
    assert "fine-tuning" in done.stderr  # progress is no result
    call("predict", model, flowers, "--out", predictions)
    table = pd.read_csv(predictions)
    kinds = ["setosa", "versicolor", "virginica"]
    assert list(table.columns) == ["prediction", *(f"probability_{kind}" for kind in kinds)]
    assert (table["prediction"] == pd.read_csv(flowers)["kind"]).mean() > 0.9


def test_fit_and_predict_a_quantity_from_json_and_parquet(tmp_path, call):
    frame = load_diabetes(as_frame=True).frame
    frame.to_parquet(tmp_path / "data.parquet")
    frame.drop(columns="target").to_json(tmp_path / "new.jsonl", orient="records", lines=True)
    model, predictions = tmp_path / "model.joblib", tmp_path / "predictions.jsonl"
    data = tmp_path / "data.parquet"
    said = call("fit", data, "--target", "target", "--out", model, "--quiet", *QUICK)
    assert said.out.startswith("regression of 'target'")
    assert said.err == ""
    call("predict", model, tmp_path / "new.jsonl", "--out", predictions)
    table = pd.read_json(predictions, lines=True)
    assert list(table.columns) == ["prediction"]
    assert np.corrcoef(table["prediction"], frame["target"])[0, 1] > 0.6


def test_the_task_can_be_set(tmp_path, call):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "stars": rng.integers(1, 6, 60)})
    frame.to_csv(tmp_path / "data.csv", index=False)
    base = ["fit", tmp_path / "data.csv", "--target", "stars", "--out", tmp_path / "m.joblib"]
    assert call(*base, *QUICK).out.startswith("classification")
    assert call(*base, "--task", "regression", *QUICK).out.startswith("regression")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["finetune_tabpfn.cli._program", "torch", "prepare"])
def test_ctrl_c_ends_the_program_in_one_line(moment, flowers, tmp_path):
    """Whatever it is doing: Python itself presses the keys, at an import or a call."""
    (tmp_path / "press.py").write_text(
        "import signal, sys\n"
        "moment = sys.argv.pop(1)\n"
        "def press(*_, **__):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "def watch(event, arguments):\n"
        "    if event == 'import' and arguments[0] == moment:\n"
        "        press()\n"
        "from finetune_tabpfn.cli import main\n"
        "if moment == 'prepare':\n"
        "    import finetune_tabpfn.finetuning._problem\n"
        "    finetune_tabpfn.finetuning._problem._tabpfn.prepare = press\n"
        "else:\n"
        "    sys.addaudithook(watch)\n"
        "sys.exit(main())\n"
    )
    out = tmp_path / "model.joblib"
    program = [sys.executable, tmp_path / "press.py", moment]
    done = subprocess.run(
        [*program, "fit", flowers, "--target", "kind", "--out", out, *QUICK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "finetune-tabpfn: interrupted\n")
    assert not out.exists()


def test_ctrl_c_during_a_demonstration_ends_it(monkeypatch, capsys):
    """Where a training that is cut short is no result, no fit takes Ctrl-C for its own."""
    monkeypatch.setattr(sys, "argv", ["finetune-tabpfn", "demo"])
    monkeypatch.setattr(
        "finetune_tabpfn.finetuning._fine_tune.step_batches",
        lambda *_: signal.raise_signal(signal.SIGINT),
    )
    before = signal.getsignal(signal.SIGINT)
    try:
        assert main() == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "finetune-tabpfn: interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "no.csv", "--target", "y", "--out", "m.joblib"], "no.csv is not a file"),
        (["fit", "{data}", "--target", "y", "--out", "m.joblib"], "There is no column 'y'"),
        (["predict", "{data}", "{data}", "--out", "p.csv"], "is not a fitted estimator"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, message, flowers, call):
    said = call(*(argument.format(data=flowers) for argument in arguments), status=1)
    assert said.out == ""
    assert said.err.startswith("finetune-tabpfn: error: ")
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--lerning-rate=1e-4",
            "--lerning-rate is not an option here; did you mean --learning-rate?",
        ),
        ("--lr=1e-4", "--lr is not an option here; did you mean --learning-rate?"),
        ("--epochs", "--epochs is not an option here; did you mean --max-steps?"),
        ("--rows", "--rows is not an option here; "),  # --n-rows is of another command
        ("--zzz", "--zzz is not an option here; `finetune-tabpfn fit --help` lists them all"),
    ],
)
def test_an_option_that_does_not_exist_suggests_the_nearest(option, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["fit", "a.csv", "--target", "y", "--out", "m.joblib", option])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as csv"),
        (b"x,y\n", "holds no rows"),
        (b"x,y\n1,2\n1,2,3\n", "cannot be read as csv"),
        ("x,y\nä,1\n".encode("latin-1"), "cannot be read as csv"),
        (b"x,z\n1,2\n", "There is no column 'y'"),
        (b"y\na\nb\n", "0 feature(s)"),
        (b"x,y\n1,\n2,\n", "y contains NaN in 2 of 2 rows"),
        (b"x,y\n1,a\n2,\n3,b\n", "y contains NaN in 1 of 3 rows"),
        (b"x,y\n1,a\n", "minimum of 2"),
        (b"x,y\n1,a\n2,a\n", "a single class"),
        (b"x,y\ninf,a\n2,b\n", "Column 'x' of X cannot be used: it contains infinity"),
    ],
)
def test_files_that_cannot_be_learned_from(content, message, tmp_path, capsys):
    data, model = tmp_path / "data.csv", tmp_path / "m.joblib"
    data.write_bytes(content)
    assert main(["fit", str(data), "--target", "y", "--out", str(model), *QUICK]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not model.exists()


def test_a_missing_column_at_prediction(flowers, tmp_path, call):
    call("fit", flowers, "--target", "kind", "--out", tmp_path / "m.joblib", *QUICK)
    pd.read_csv(flowers).iloc[:, 1:].to_csv(tmp_path / "less.csv", index=False)
    said = call("predict", tmp_path / "m.joblib", tmp_path / "less.csv", "--out", "p.csv", status=1)
    assert "lacks the column 'sepal length (cm)'" in said.err


def test_wrong_usage(call):
    assert "usage: finetune-tabpfn" in call("fit", status=2).err
    assert "invalid choice" in call("frobnicate", status=2).err


def test_help_explains_every_parameter(call):
    shown = call("fit", "--help").out
    assert "--learning-rate" in shown
    assert "Peak learning rate of AdamW" in " ".join(shown.split())


@pytest.mark.slow
def test_demo(tmp_path, call, everything):
    short = ["--time-limit", "20"] if everything else ["--max-steps", "5", "--n-estimators", "1"]
    said = call("demo", "--out", tmp_path, *short)
    assert "base" in said.out
    assert "fine-tuned" in said.out
    assert "on this table" in said.out
    assert (tmp_path / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    model = TabPFNClassifier(model_path=str(tmp_path / "digits-v3.safetensors"), device="cpu")
    model.fit(np.eye(8), np.arange(8) % 2)


def synth(*arguments):
    return main(["synth", *map(str, arguments)])


def test_synth_from_parameters(tmp_path, capsys):
    out = tmp_path / "table.parquet"
    wanted = ["--n-rows", 60, "--n-columns", 4, "--task", "regression", "--missing-share", 0.1]
    assert synth("--out", out, *wanted, "--random-state", 0) == 0
    assert "60 rows, 4 columns, target 'target', saved" in capsys.readouterr().out
    X, y = make_table(60, 4, "regression", missing_share=0.1, random_state=0)
    pd.testing.assert_frame_equal(pd.read_parquet(out), X.assign(target=y), check_exact=True)


def test_synth_like_a_table_and_from_its_schema(flowers, tmp_path, capsys):
    schema, twin, again = (tmp_path / name for name in ("s.yaml", "twin.csv", "again.csv"))
    size = ["--n-rows", 90, "--random-state", 1]
    assert (
        synth("--like", flowers, "--target", "kind", "--save-schema", schema, "--out", twin, *size)
        == 0
    )
    assert "schema of 4 columns, saved" in capsys.readouterr().out
    assert synth("--schema", schema, "--out", again, *size) == 0
    assert twin.read_text() == again.read_text()
    real, drawn = pd.read_csv(flowers), pd.read_csv(twin)
    assert list(drawn.columns) == list(real.columns)
    assert drawn["kind"].value_counts().to_dict() == dict.fromkeys(real["kind"].unique(), 30)


def test_synth_saves_a_schema_alone(flowers, tmp_path):
    assert synth("--like", flowers, "--save-schema", tmp_path / "s.yaml", "--min-count", 5) == 0
    schema = Schema.from_yaml(tmp_path / "s.yaml")
    assert schema.target is None
    assert len(schema.columns) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "synth needs --out"),
        (["--out", "t.csv", "--n-rows", "1"], "n_rows=1 is too few for 2 classes"),
        (["--out", "t.csv", "--schema", "no.yaml"], "no.yaml cannot be read as YAML"),
        (["--out", "t.csv", "--like", "no.csv"], "no.csv is not a file"),
        (["--out", "t.csv", "--save-schema", "s.yaml"], "--save-schema needs --like"),
        (
            ["--out", "t.csv", "--like", "{data}", "--noise", "0"],
            "--noise does not go with --schema or --like",
        ),
    ],
)
def test_what_synth_cannot_do(arguments, message, flowers, capsys):
    assert synth(*(argument.format(data=flowers) for argument in arguments)) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

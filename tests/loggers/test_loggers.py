"""What is shown of a run."""

import io
import json
import logging
import shutil
import struct
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_backend
from matplotlib import pyplot
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from tabpfn import TabPFNClassifier
from torch import nn

from finetune_tabpfn import (
    Callback,
    Checkpoint,
    FinetunedTabPFNClassifier,
    FinetunedTabPFNRegressor,
    Logger,
    TrainingCurveDisplay,
)
from finetune_tabpfn.loggers._plot import save_curve
from finetune_tabpfn.loggers._registry import Loggers, ProgressBar, ProgressLines
from finetune_tabpfn.training._state import Evaluation, HistoryRow, TrainState
from finetune_tabpfn.utils._warn import warn

NAME = "finetunedtabpfnclassifier"


@pytest.fixture(scope="module")
def fitted():
    return FinetunedTabPFNClassifier(
        base_model="mini", max_steps=6, eval_interval=2, n_estimators=1, random_state=0
    ).fit(*load_iris(return_X_y=True))


@pytest.fixture
def curve():
    yield TrainingCurveDisplay.from_estimator
    pyplot.close("all")


def test_the_curve_shows_what_happened(fitted, curve):
    display = curve(fitted)
    history = fitted.history_
    (line,), (base,) = display.lines_, display.base_lines_
    assert list(line.get_ydata()) == history["score"].tolist()
    assert set(base.get_ydata()) == {fitted.base_score_}
    assert set(display.deployed_line_.get_ydata()) == {fitted.best_score_}
    (star,) = display.deployed_marks_
    assert list(star.get_xdata()) == [fitted.best_step_]
    title = " ".join(display.ax_.get_title(loc="left").split())
    assert f"mini: max_steps {fitted.deployment_reason_}" in title
    assert "neg_log_loss" in display.ax_.get_ylabel()
    losses, trained = curve(fitted, metric="train_loss"), history.iloc[1:]
    assert list(losses.lines_[0].get_ydata()) == trained["train_loss"].tolist()
    rates = curve(fitted, metric="learning_rate")
    assert list(rates.lines_[0].get_ydata()) == trained["learning_rate"].tolist()
    assert not rates.deployed_marks_


def test_the_curve_is_a_figure_of_pyplot_or_stands_on_axes_that_are_given(fitted, curve):
    assert curve(fitted).figure_ is pyplot.gcf()
    _, ax = pyplot.subplots()
    display = curve(fitted, ax=ax, line_kw={"color": "red"})
    assert display.ax_ is ax
    assert display.lines_[0].get_color() == "red"
    assert display.plot().ax_ is not ax


def test_the_curve_of_an_estimator_inside_another(fitted, curve):
    pipe = Pipeline([("model", fitted)])
    search = GridSearchCV(pipe, {})
    search.best_estimator_ = pipe  # as its fit leaves it
    assert len(curve(search).lines_) == 1


def test_a_curve_of_what_has_none_gets_a_sentence(fitted, curve):
    with pytest.raises(TypeError, match=r"finetune_tabpfn, .* holds one; not of Logis"):
        curve(LogisticRegression())
    with pytest.raises(NotFittedError, match="FinetunedTabPFNClassifier"):
        curve(FinetunedTabPFNClassifier())
    with pytest.raises(ValueError, match=r"metric='rmse' .* history_ has train_loss, score, "):
        curve(fitted, metric="rmse")


def test_the_curve_of_a_run_that_scored_nothing(fitted, tmp_path, curve):
    model = FinetunedTabPFNRegressor(base_model="mini", n_estimators=1, random_state=0)
    with pytest.warns(UserWarning, match="Nothing to fine-tune on"):
        model.fit([[1.0], [2.0], [3.0]], [1.0, 1.0, 1.0])
    assert curve(model).lines_ == []
    assert "nothing was trained" in pyplot.gca().get_title(loc="left")
    save_curve(model, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_the_curve_of_the_base_model_alone(tmp_path, curve):
    model = fit(max_steps=0)
    assert len(model.history_) == 1
    assert curve(model).deployed_marks_[0].get_label() == "deployed: the base model"
    save_curve(model, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_without_a_hold_out_the_curve_is_that_of_the_train_loss(curve):
    model = fit(validation=None)
    display = curve(model)
    assert "train loss" in display.ax_.get_ylabel()
    assert list(display.lines_[0].get_xdata()) == [2, 4]
    assert list(display.deployed_marks_[0].get_xdata()) == [4]
    assert display.deployed_line_ is None


@pytest.mark.parametrize(
    ("deployed", "n_folds", "min_gain_se"),
    [("best", 1, 0), ("best", 2, 0), ("interpolated", 1, 1e-9), ("base", 1, 1e9), ("base", 2, 1e9)],
)
def test_scores_steps_history_and_messages_agree(deployed, n_folds, min_gain_se, capsys, caplog):
    caplog.set_level("INFO", "finetune_tabpfn")
    training = {"min_gain_se": min_gain_se}
    settings = {"max_steps": 6 * n_folds, "n_folds": n_folds, "learning_rate": 4e-4}
    model = fit(**settings, training=training, verbose=True)
    history, said = model.history_, capsys.readouterr().err
    assert model.deployed_weights_ == deployed
    chosen = history[history["is_deployed"]]
    assert sorted(chosen["fold"]) == list(range(n_folds))
    assert model.best_step_ == int(chosen["step"].median())
    assert (model.best_step_ == 0) == (deployed == "base")
    assert (model.best_score_ == model.base_score_) == (deployed == "base")
    if deployed == "best" and n_folds == 1:
        assert model.best_score_ == chosen["score"].item()
    for _, evaluations in history.groupby("fold"):
        best = evaluations.loc[evaluations["score"].idxmax()]
        shown = f"score {evaluations['score'].iloc[-1]:.4g}, best {best['score']:.4g}"
        assert f"{shown} at {best['step']:.0f}]" in said
    last = [line for line in said.replace("\r", "\n").split("\n") if line.strip()][-1]
    assert last == f"fine-tuning: {model.deployment_reason_}"
    assert model.deployment_reason_ in caplog.messages


def test_the_progress_bar():
    out = io.StringIO()
    bar = ProgressBar(total=20, file=out)
    state = TrainState(nn.Linear(1, 1))
    bar.on_train_begin(state)
    state.history = [HistoryRow(0, 0, 0.0, float("nan"), -0.5, 0.0)]
    state.best = Evaluation(-0.5)
    bar.after_evaluation(state)
    for state.step in range(1, 11):
        state.losses = [0.25]
        bar.after_step(state)
    bar._bar.refresh()
    state.stop_reason = "early_stopping"
    bar.on_train_end(state)
    shown = out.getvalue()
    assert "10/10 steps" in shown
    assert "10/20 steps" in shown
    assert shown.count("\n") == 1
    assert "loss 0.25, score -0.5, best -0.5 at 0" in shown
    assert "early_stopping" in shown


def test_every_fold_has_a_bar_of_its_own():
    out = io.StringIO()
    bar = ProgressBar(file=out)
    bar.on_fit_begin({"parameters": {"max_steps": 10, "time_limit": None}, "folds": 4})
    bar.on_train_begin(TrainState(nn.Linear(1, 1), fold=1))
    assert "fine-tuning, fold 2 of 4: 0/3 steps" in out.getvalue()


def test_the_bar_counts_to_what_the_time_allows():
    seconds, out = [0.0], io.StringIO()
    bar = ProgressBar(total=500, file=out, clock=lambda: seconds[0])
    state = TrainState(nn.Linear(1, 1))
    bar.on_train_begin(state)
    for state.step in range(1, 11):
        seconds[0] += 2.0  # a step, and its part of the evaluations
        state.seconds_left = 60 - seconds[0]
        state.losses = [0.25]
        bar.after_step(state)
    bar._bar.refresh()
    last = out.getvalue().rpartition("\r")[2]
    assert "10/30 steps" in last
    assert "at most 00:40 left" in last


def test_log_lines_and_warnings_stand_beside_the_bar(capsys):
    bar, log = ProgressBar(total=3), logging.getLogger("finetune_tabpfn")
    console = logging.StreamHandler(sys.stderr)
    console.setLevel("WARNING")
    log.addHandler(console)
    try:
        bar.on_train_begin(TrainState(nn.Linear(1, 1)))
        log.warning("a message")
        log.info("of a level that is not shown")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            # as Python does; pytest records them
            warnings.showwarning = lambda text, kind, *_: sys.stderr.write(f"Warning: {text}\n")
            warn("a warning")
        bar.on_fit_error(KeyboardInterrupt())
        log.warning("afterwards")
    finally:
        log.removeHandler(console)
    assert console.stream is sys.stderr
    shown = capsys.readouterr().err
    lines = [line.rpartition("\r")[2] for line in shown.split("\n")]
    assert "a message" in lines
    assert "afterwards" in lines
    assert "Warning: a warning" in lines
    assert "not shown" not in shown


def test_a_fit_in_a_worker_says_whole_lines_with_its_name_and_draws_no_bar():
    """Bars of several workers would interleave."""
    out = io.StringIO()
    lines = ProgressLines("dask-1", file=out)
    run = {"task": "regression", "rows": 90, "columns": 4, "folds": 2}
    lines.on_fit_begin({**run, "parameters": {"max_steps": 20}})
    state = TrainState(nn.Linear(1, 1), fold=1)
    state.history = [HistoryRow(0, 0, 0.0, float("nan"), -0.5, 0.0)]
    state.best = Evaluation(-0.5)
    lines.after_evaluation(state)
    state.step, state.stop_reason = 10, "max_steps"
    state.history.append(HistoryRow(1, 10, 0.0, 0.25, -0.6, 0.0))
    lines.after_evaluation(state)
    lines.on_train_end(state)
    name, *_ = out.getvalue().partition("]")
    assert name.startswith("[dask-1, fit ")
    assert out.getvalue().replace(f"{name}] ", "").splitlines() == [
        "begins: regression, 90 rows, 4 columns",
        "fold 2 of 2, step 0 of at most 10, score -0.5, best -0.5 at 0",
        "fold 2 of 2, step 10 of at most 10, loss 0.25, score -0.6, best -0.5 at 0",
        "fold 2 of 2, ended after 10 steps (max_steps)",
    ]


def test_the_progress_of_a_fit_in_a_pool_of_threads_is_lines():
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(Loggers, "progress", None).result()
    assert isinstance(found.loggers[0].logger, ProgressLines)
    assert isinstance(Loggers("progress", None).loggers[0].logger, ProgressBar)


def test_history_is_a_frame_of_numbers(fitted):
    assert all(pd.api.types.is_numeric_dtype(dtype) for dtype in fitted.history_.dtypes)


# --- records of a fit ---------------------------------------------------------------------------


def fit(tmp_path=None, estimator=FinetunedTabPFNClassifier, data=load_iris, **parameters):
    common = {"base_model": "mini", "max_steps": 4, "eval_interval": 2, "n_estimators": 1}
    common |= {"random_state": 0, "device": "cpu", "log_dir": tmp_path}
    return estimator(**{**common, **parameters}).fit(*data(return_X_y=True))


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_of_json_for_every_step_and_round(tmp_path):
    model = fit(tmp_path, loggers="jsonl")
    lines = records(tmp_path / "log.jsonl")
    events = [line["event"] for line in lines]
    assert events == [
        "fit",
        "evaluation",
        "step",
        "step",
        "evaluation",
        "step",
        "step",
        "evaluation",
        "end",
    ]
    assert lines[0]["task"] == "classification"
    assert (lines[0]["rows"], lines[0]["columns"]) == (150, 4)
    assert lines[0]["parameters"]["max_steps"] == 4
    assert lines[0]["licence"] == "Apache-2.0"
    evaluations = [line for line in lines if line["event"] == "evaluation"]
    assert [line["score"] for line in evaluations] == model.history_["score"].tolist()
    assert evaluations[0]["train_loss"] is None  # JSON has no NaN
    for name in ("log_loss", "accuracy", "roc_auc", "peak_memory_mb", "learning_rate"):
        assert all(line[name] >= 0 for line in evaluations)
    assert all(line["grad_norm"] > 0 for line in lines if line["event"] == "step")
    assert lines[-1]["stop_reason"] == "max_steps"


def test_rows_of_a_table_for_every_step_and_round(tmp_path):
    model = fit(tmp_path / "new", FinetunedTabPFNRegressor, load_diabetes, loggers=["csv"])
    table = pd.read_csv(tmp_path / "new" / "log.csv")
    evaluations = table[table["event"] == "evaluation"]
    np.testing.assert_allclose(evaluations["score"], model.history_["score"])
    np.testing.assert_allclose(evaluations["rmse"], -evaluations["score"])
    assert evaluations[["mae", "r2"]].notna().all(axis=None)
    assert len(table[table["event"] == "step"]) == 4


def test_a_second_fit_replaces_the_first_ones_records_and_folds_are_numbered(tmp_path):
    fit(tmp_path, loggers="jsonl")
    fit(tmp_path, loggers="jsonl", n_folds=2, max_steps=2)
    lines = records(tmp_path / "log.jsonl")
    assert [line["event"] for line in lines].count("fit") == 1
    assert {line["fold"] for line in lines if line["event"] == "evaluation"} == {0, 1}


def test_a_fold_has_one_number_in_the_records_and_in_the_history(tmp_path):
    X, y = np.arange(40.0)[:, None] % 7, np.r_[np.full(30, 1.0), np.arange(10.0)]
    first_constant = [(np.arange(30), np.arange(30, 40)), (np.arange(10, 40), np.arange(10))]
    common = {"validation": Splits(first_constant), "n_folds": 2, "loggers": ["jsonl", "csv"]}
    with pytest.warns(UserWarning, match=r"Fold 0 is left out: .* \(constant target\)"):
        model = fit(tmp_path, FinetunedTabPFNRegressor, lambda return_X_y: (X, y), **common)
    lines = records(tmp_path / "log.jsonl")
    found = [line["fold"] for line in lines if line["event"] == "evaluation"]
    assert found == model.history_["fold"].tolist() == [1, 1]
    assert model.learning_rate_ > 0  # of the fold that was trained on
    assert set(pd.read_csv(tmp_path / "log.csv")["fold"]) == {1}


class Splits:
    def __init__(self, splits):
        self.splits = splits

    def split(self, X, y=None, groups=None):
        return iter(self.splits)

    def get_n_splits(self, X=None, y=None, groups=None):
        return len(self.splits)


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_has_a_folder_for_each_fit(n_jobs, tmp_path):
    X, y = load_iris(return_X_y=True)
    model = FinetunedTabPFNClassifier(
        base_model="mini",
        max_steps=1,
        n_estimators=1,
        random_state=0,
        loggers=["jsonl", "csv"],
        log_dir=tmp_path,
    )
    search = GridSearchCV(make_pipeline(model), {f"{NAME}__learning_rate": [1e-5, 1e-4]}, cv=2)
    with parallel_backend("threading", n_jobs=n_jobs):
        search.fit(X, y)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"fit-{n}" for n in range(1, 6)]
    begun = [records(tmp_path / f"fit-{n}" / "log.jsonl") for n in range(1, 6)]
    assert all((tmp_path / f"fit-{n}" / "log.csv").is_file() for n in range(1, 6))
    assert all([line["event"] for line in fit].count("fit") == 1 for fit in begun)
    rates = [fit[0]["parameters"]["learning_rate"] for fit in begun]
    assert sorted(rates[:4]) == [1e-5, 1e-5, 1e-4, 1e-4]
    assert rates[4] == search.best_params_[f"{NAME}__learning_rate"]
    assert [fit[0]["rows"] for fit in begun] == [75] * 4 + [150]


def test_a_killed_run_leaves_what_had_happened(tmp_path):
    class Killed(BaseException):
        pass

    class Kills(Callback):
        def after_step(self, state):
            if state.step == 3:
                raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, loggers="jsonl", callbacks=[Kills()])
    steps = [line["step"] for line in records(tmp_path / "log.jsonl") if line["event"] == "step"]
    assert steps == [1, 2, 3]


def test_a_fit_that_goes_on_adds_to_its_records(tmp_path):
    common = {
        "loggers": ["jsonl", "csv"],
        "checkpoint": Checkpoint(tmp_path / "state", resume=True),
    }
    fit(tmp_path, max_steps=2, **common)
    fit(tmp_path, max_steps=6, **common)
    lines = records(tmp_path / "log.jsonl")
    assert [line["resumed"] for line in lines if line["event"] == "fit"] == [False, True]
    table = pd.read_csv(tmp_path / "log.csv")
    steps = table[table["event"] == "step"]["step"].tolist()
    assert steps == [line["step"] for line in lines if line["event"] == "step"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_several_loggers_and_ones_own(tmp_path):
    class Scores(Logger):
        def on_fit_begin(self, run):
            self.seen = [run["task"]]

        def after_evaluation(self, state):
            self.seen.append(state.history[-1].score)
            return "this would stop a callback's run, not a logger's"

        def on_fit_end(self, estimator):
            self.seen.append(estimator.best_score_)

    scores = Scores()
    model = fit(tmp_path, loggers=["jsonl", "csv", "plot", scores])
    assert scores.seen == ["classification", *model.history_["score"], model.best_score_]
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "log.csv", "curve.png"}
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("hook", ["on_fit_begin", "before_step", "after_evaluation", "on_fit_end"])
def test_a_logger_that_fails_warns_once_and_harms_nothing(hook):
    broken = type("Broken", (Logger,), {hook: lambda self, _: 1 / 0})
    with pytest.warns(UserWarning, match=f"Broken failed in {hook}.*division") as caught:
        model = fit(loggers=broken())
    assert len([one for one in caught if "Broken" in str(one.message)]) == 1
    assert model.n_steps_ == 4


def test_a_disk_that_cannot_be_written_harms_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="JsonLines failed in on_fit_begin"):
        assert fit(tmp_path / "file" / "below", loggers="jsonl").n_steps_ == 4


def test_logging_changes_no_weights(tmp_path):
    X = load_iris().data
    quiet, logged = fit(), fit(tmp_path, loggers=["jsonl", "csv", "plot", "progress"])
    np.testing.assert_array_equal(quiet.predict_proba(X), logged.predict_proba(X))


def test_names_that_mean_nothing_and_missing_folders_get_a_sentence():
    with pytest.raises(
        ValueError, match="loggers='jsnol' is none of progress, jsonl, csv, plot, tensor"
    ):
        fit(loggers="jsnol")
    for no_logger in (5, Logger):
        with pytest.raises(
            ValueError, match=r"loggers=.* is not an object with a method of finetune_"
        ):
            fit(loggers=[no_logger])
    with pytest.raises(ValueError, match="loggers='csv' needs a folder to write to: log_dir="):
        fit(loggers=["csv"])


def test_an_installed_plugin_is_found_by_its_name(tmp_path, monkeypatch):
    """A distribution as pip would install it: a module and its entry point."""
    (tmp_path / "shouting.py").write_text(
        "from finetune_tabpfn import Logger\n"
        "class Shout(Logger):\n"
        "    def __init__(self, folder):\n"
        "        self.folder = folder\n"
        "    def on_fit_end(self, estimator):\n"
        "        (self.folder / 'shout.txt').write_text(estimator.stop_reason_.upper())\n"
    )
    installed = tmp_path / "shouting-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[finetune_tabpfn.loggers]\nshout = shouting:Shout\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    fit(tmp_path, loggers="shout")
    assert (tmp_path / "shout.txt").read_text() == "MAX_STEPS"


def wandb_records(folder):
    """Read the file of an offline run, whose frame is LevelDB's log: blocks of 32 KiB."""
    internal = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # no room for a head: the rest of the block is empty
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        if place + 7 + length > len(data):
            return  # it is being written
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = internal.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


@pytest.mark.slow
def test_an_offline_run_of_wandb_holds_it_all(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")

    def values(items):
        return {
            item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items
        }

    def of(kind):
        return [record for record in found if record.WhichOneof("record_type") == kind]

    model = fit(tmp_path, loggers="wandb")
    found, deadline = [], time.monotonic() + 30
    while not of("exit") and time.monotonic() < deadline:  # a process of wandb's own writes it
        found = list(wandb_records(tmp_path))

    config = values(of("run")[0].run.config.update)
    parameters = config.get("parameters") or {"max_steps": config["parameters/max_steps"]}
    assert parameters["max_steps"] == 4
    assert config["rows"] == 150
    rows = [values(record.history.item) for record in of("history")]
    scores = [row["evaluation/score"] for row in rows if "evaluation/score" in row]
    np.testing.assert_allclose(scores, model.history_["score"])
    assert len([row for row in rows if "step/train_loss" in row]) == 4
    summary = {k: v for record in of("summary") for k, v in values(record.summary.update).items()}
    assert summary["best_score"] == pytest.approx(model.best_score_)
    assert summary["stop_reason"] == "max_steps"


@pytest.mark.slow
def test_the_network_as_an_artifact_of_wandb_on_request(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_LOG_MODEL", "end")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    model = fit(tmp_path, loggers="wandb")
    found, deadline = [], time.monotonic() + 30
    while not found and time.monotonic() < deadline:
        records = list(wandb_records(tmp_path))
        found = [r for r in records if r.WhichOneof("record_type") == "request"] and [
            r.request.log_artifact.artifact
            for r in records
            if r.request.WhichOneof("request_type") == "log_artifact"
        ]
        found += [r.artifact for r in records if r.WhichOneof("record_type") == "artifact"]
    (artifact,) = found
    assert artifact.type == "model"
    (entry,) = artifact.manifest.contents
    assert entry.path == "mini-classifier-v3.safetensors"
    X, y = load_iris(return_X_y=True)
    path = shutil.copy(entry.local_path, tmp_path / entry.path)
    plain = TabPFNClassifier(
        model_path=path,
        n_estimators=1,
        device="cpu",
        random_state=0,
        inference_precision=torch.float32,  # as ours on a processor
    )
    np.testing.assert_allclose(plain.fit(X, y).predict_proba(X), model.predict_proba(X), atol=1e-6)


class Fails(Callback):
    def __init__(self, error=ZeroDivisionError):
        self.error = error

    def after_evaluation(self, state):
        if state.step == 2:
            raise self.error("on purpose")


def test_records_of_a_fit_that_fails_say_so(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, loggers=["jsonl", "csv"], callbacks=[Fails()])
    last = records(tmp_path / "log.jsonl")[-1]
    assert last == {"event": "failed", "error": "ZeroDivisionError: on purpose"}
    assert set(pd.read_csv(tmp_path / "log.csv")["event"]) == {"step", "evaluation"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_a_run_of_mlflow_ends_as_failed(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SystemExit):
        fit(tmp_path, loggers="mlflow", callbacks=[Fails(SystemExit)])
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("finetune-tabpfn").experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "SystemExit: on purpose"


def test_an_offline_run_of_wandb_ends_as_failed(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, loggers="wandb", callbacks=[Fails()])
    assert wandb.run is None
    codes, deadline = [], time.monotonic() + 30
    while not codes and time.monotonic() < deadline:
        codes = [
            record.exit.exit_code
            for record in wandb_records(tmp_path)
            if record.WhichOneof("record_type") == "exit"
        ]
    assert codes == [1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_a_run_of_mlflow_holds_it_all(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    model = fit(tmp_path, loggers="mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "finetune-tabpfn"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["parameters.max_steps"] == "4"
    assert run.data.params["rows"] == "150"
    scores = client.get_metric_history(run.info.run_id, "evaluation/score")
    assert [metric.step for metric in scores] == model.history_["step"].tolist()
    np.testing.assert_allclose([metric.value for metric in scores], model.history_["score"])
    assert len(client.get_metric_history(run.info.run_id, "step/train_loss")) == 4
    assert run.data.metrics["best_score"] == pytest.approx(model.best_score_)
    assert run.data.tags["stop_reason"] == "max_steps"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A database of MLflow, which takes seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'of-the-user.db'}"


@pytest.fixture
def mlflow(store, monkeypatch):
    """MLflow as a user has set it up, and as it was before afterwards."""
    library = pytest.importorskip("mlflow")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(library.tracking.fluent, "_active_experiment_id", None)
    library.set_tracking_uri(store)
    yield library
    library.set_tracking_uri(None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.parametrize("ends", [None, ZeroDivisionError])
def test_an_open_run_of_mlflow_holds_the_fit_as_a_nested_one(ends, mlflow, tmp_path):
    mine = mlflow.set_experiment(f"mine, {ends}").experiment_id
    fails = [Fails(ends)] if ends else []
    with mlflow.start_run() as around:
        mlflow.log_metric("before", 1)
        with pytest.raises(ends) if ends else nullcontext():
            fit(tmp_path / "logs", loggers="mlflow", callbacks=fails)
        assert mlflow.active_run().info.run_id == around.info.run_id
        mlflow.log_metric("after", 2)
    client = mlflow.MlflowClient()
    (nested,) = (run for run in client.search_runs([mine]) if run.info.run_id != around.info.run_id)
    assert nested.data.tags["mlflow.parentRunId"] == around.info.run_id
    assert nested.info.status == ("FAILED" if ends else "FINISHED")
    assert nested.data.params["parameters.max_steps"] == "4"
    outer = client.get_run(around.info.run_id)
    assert (outer.info.status, outer.data.metrics) == ("FINISHED", {"before": 1, "after": 2})
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_the_users_experiment_of_mlflow_is_used(mlflow, tmp_path):
    mine = mlflow.set_experiment("mine").experiment_id
    fit(tmp_path / "logs", loggers="mlflow")
    assert mlflow.active_run() is None
    (run,) = mlflow.MlflowClient().search_runs([mine])
    assert (run.info.status, "mlflow.parentRunId" in run.data.tags) == ("FINISHED", False)


@pytest.mark.parametrize("ends", [None, ZeroDivisionError])
def test_an_open_run_of_wandb_is_logged_into_and_stays_open(ends, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    fails = [Fails(ends)] if ends else []
    with wandb.init(project="mine", dir=tmp_path, config={"lr": 1}) as mine:
        mine.log({"own": 1})
        with pytest.raises(ends) if ends else nullcontext():
            fit(tmp_path / "logs", loggers="wandb", callbacks=fails)
        assert wandb.run is mine
        mine.log({"own": 2})
        summary, config = dict(mine.summary), dict(mine.config)
    assert not (tmp_path / "logs").exists()
    assert (summary["own"], config["lr"]) == (2, 1)
    assert config["finetune_tabpfn"]["parameters"]["max_steps"] == 4
    assert summary["finetune_tabpfn/step/train_loss"] > 0
    if ends:
        assert summary["finetune_tabpfn/error"] == "ZeroDivisionError: on purpose"
    else:
        assert summary["finetune_tabpfn/stop_reason"] == "max_steps"
        assert summary["finetune_tabpfn/evaluation/step"] == 4


def test_the_curves_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = fit(tmp_path, loggers=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scores = events.Scalars("evaluation/score")
    assert [event.step for event in scores] == model.history_["step"].tolist()
    np.testing.assert_allclose(
        [event.value for event in scores], model.history_["score"], rtol=1e-6
    )
    assert len(events.Scalars("step/train_loss")) == 4


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="loggers='wandb' needs the library wandb: pip install"):
        fit(loggers="wandb")


@pytest.mark.parametrize("verbose", [False, True])
def test_a_folder_that_nothing_writes_to_is_warned_of(tmp_path, verbose):
    with pytest.warns(UserWarning, match=r"log_dir=.* stays as it is, since nothing writes there"):
        Loggers(None, tmp_path, verbose)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Loggers("csv", tmp_path, verbose)
        Loggers(None, None, verbose)

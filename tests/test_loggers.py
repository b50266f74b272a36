"""What is shown of a run."""

import io

import pandas as pd
import pytest
from sklearn.datasets import load_iris
from torch import nn

from finetune_tabpfn import FinetunedTabPFNClassifier, plot_history
from finetune_tabpfn.loggers import ProgressBar, save_curve
from finetune_tabpfn.training import Round, TrainState


@pytest.fixture(scope="module")
def fitted():
    return FinetunedTabPFNClassifier(
        base_model="mini", max_steps=6, eval_interval=2, n_estimators=1, random_state=0
    ).fit(*load_iris(return_X_y=True))


def test_the_curve_shows_what_happened(fitted):
    ax = plot_history(fitted)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines["score"].get_ydata()) == fitted.history_["score"].tolist()
    assert set(lines["base model"].get_ydata()) == {fitted.base_score_}
    assert list(lines["best round"].get_xdata()) == [fitted.best_step_]
    assert "mini: max_steps" in ax.get_title()
    assert "neg_log_loss" in ax.get_ylabel()
    losses = next(other for other in ax.figure.axes if other is not ax).get_lines()[0].get_ydata()
    assert list(losses) == fitted.history_["train_loss"].dropna().tolist()


def test_the_curve_of_a_run_that_scored_nothing(fitted, tmp_path):
    class Unscored:
        history_ = fitted.history_.iloc[:0]
        base_score_, best_step_, stop_reason_ = float("nan"), 0, "too few rows"
        scoring_, base_model_ = fitted.scoring_, fitted.base_model_

    save_curve(Unscored(), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_the_progress_bar():
    out = io.StringIO()
    bar = ProgressBar(total=20, file=out)
    state = TrainState(nn.Linear(1, 1))
    bar.on_train_begin(state)
    state.history = [Round(0, 0, 0.0, float("nan"), -0.5, 0.0)]
    state.best_score = -0.5
    bar.after_round(state)
    for state.step in range(1, 11):
        state.train_loss = 0.25
        bar.after_step(state)
    state.stop_reason = "early_stopping"
    bar.on_train_end(state)
    shown = out.getvalue()
    assert "10/20" in shown
    assert "loss 0.25, score -0.5, best -0.5 at 0" in shown
    assert "early_stopping" in shown


def test_history_is_a_frame_of_numbers(fitted):
    assert all(pd.api.types.is_numeric_dtype(dtype) for dtype in fitted.history_.dtypes)

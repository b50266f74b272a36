"""`validation=None`: all rows train, and nothing is scored."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris

from finetune_tabpfn import (
    Callback,
    FinetunedTabPFNRegressor,
    fine_tune_base_model,
)
from finetune_tabpfn._estimators import new_estimator
from finetune_tabpfn.cli import main
from finetune_tabpfn.training._state import copy_weights

IRIS, DIABETES = load_iris(return_X_y=True), load_diabetes(return_X_y=True)
QUICK = {
    "base_model": "mini",
    "max_steps": 7,
    "eval_interval": 3,
    "n_estimators": 1,
    "random_state": 0,
    "validation": None,
}


def classifier(**parameters):
    return new_estimator("classification", {**QUICK, **parameters})


class Watch(Callback):
    """Notes the averaged weights of every evaluation."""

    def __init__(self):
        self.weights = []

    def after_evaluation(self, state):
        self.weights.append(copy_weights(state.model))


@pytest.mark.slow
@pytest.mark.parametrize(
    "impatience", [{}, {"patience": 1, "plateau_patience": 1, "min_delta": 9.0}]
)
def test_exactly_the_steps_that_were_asked_for_and_the_last_average(impatience, tmp_path):
    watch = Watch()
    model = classifier(
        callbacks=[watch], loggers=["jsonl", "plot"], log_dir=tmp_path, verbose=True, **impatience
    ).fit(*IRIS)
    assert (model.n_steps_, model.stop_reason_) == (7, "max_steps")
    assert (model.deployed_weights_, model.best_step_) == ("last", 7)
    assert model.history_["step"].tolist() == [0, 3, 6, 7]
    assert model.history_["score"].isna().all()
    assert np.isnan([model.base_score_, model.best_score_]).all()
    for name, weight in model.predictor_.models_[0].state_dict().items():
        np.testing.assert_array_equal(weight.numpy(), watch.weights[-1][name].numpy())
    assert not all(watch.weights[0][n].equal(watch.weights[-1][n]) for n in watch.weights[0])
    evaluations = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["score"] for line in evaluations if line["event"] == "evaluation"] == [None] * 4
    assert (tmp_path / "curve.png").stat().st_size


def test_all_rows_train():
    X, y = IRIS[0][::10], IRIS[1][::10]  # 15 rows: a split takes all that train
    rows = []

    class Counts(Callback):
        def after_step(self, state):
            rows.append(state.step_rows)

    classifier(callbacks=[Counts()], max_steps=1).fit(X, y)
    assert rows == [15]
    classifier(callbacks=[Counts()], max_steps=1, validation="random").fit(X, y)
    assert rows[1] < 15


@pytest.mark.slow
def test_or_until_the_time_limit():
    began = time.monotonic()
    model = FinetunedTabPFNRegressor(**{**QUICK, "max_steps": 10**6}, time_limit=5).fit(*DIABETES)
    assert time.monotonic() - began < 1.05 * 5 + 1
    assert (model.stop_reason_, model.deployed_weights_) == ("time_limit", "last")
    assert model.history_["step"].iloc[-1] == model.n_steps_ > 0


def test_rows_to_validate_on_are_used():
    model = classifier().fit(*IRIS, X_val=IRIS[0][::5], y_val=IRIS[1][::5])
    assert np.isfinite(model.best_score_)
    assert model.deployed_weights_ != "last"


@pytest.mark.slow
def test_a_training_that_diverged_deploys_the_base():
    with pytest.warns(UserWarning, match="diverged.*; the base model is deployed"):
        model = FinetunedTabPFNRegressor(**{**QUICK, "max_steps": 40, "learning_rate": 0.9}).fit(
            *DIABETES
        )
    assert model.deployed_weights_ == "base"


def test_ctrl_c_deploys_the_last_round():
    class Interrupts(Callback):
        def after_step(self, state):
            if state.step == 5:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted; the model of the last evaluation is"):
        model = classifier(callbacks=[Interrupts()]).fit(*IRIS)
    assert model.best_step_ == 3


def test_no_steps_are_the_base():
    assert classifier(max_steps=0).fit(*IRIS).deployed_weights_ == "base"


@pytest.mark.slow
def test_a_fit_goes_on_to_the_end_of_an_uninterrupted_one(tmp_path):
    kept = {"checkpoint": tmp_path, "resume": True}
    classifier(**kept, max_steps=3).fit(*IRIS)
    longer, whole = classifier(**kept).fit(*IRIS), classifier().fit(*IRIS)
    assert longer.history_["step"].tolist() == [0, 3, 6, 7]
    np.testing.assert_array_equal(longer.predict_proba(IRIS[0]), whole.predict_proba(IRIS[0]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_folds": 2}, "validation=None holds no rows out, which n_folds=2 asks for"),
        ({"learning_rate": "auto"}, 'learning_rate="auto" is chosen on a hold-out, and validation'),
        ({"max_steps": None}, "The 'max_steps' parameter of FinetunedTabPFNClassifier must be"),
    ],
)
def test_what_needs_a_hold_out_is_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        classifier(**parameters).fit(*IRIS)


def test_several_tables_need_hold_outs(tmp_path):
    parameters = {**QUICK, "task": "classification"}
    with pytest.raises(ValueError, match="validation=None leaves nothing to compare"):
        fine_tune_base_model([IRIS], tmp_path / "a-v3.ckpt", **parameters)


def test_the_program_and_a_run(tmp_path, capsys):
    table = pd.DataFrame(IRIS[0], columns=list("abcd")).assign(kind=np.array(list("xyz"))[IRIS[1]])
    table.to_csv(tmp_path / "table.csv", index=False)
    options = ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--quiet"]
    fit = ["fit", f"{tmp_path}/table.csv", "--target", "kind", "--out", f"{tmp_path}/m.joblib"]
    assert main([*fit, *options, "--validation", "none"]) == 0
    assert "nothing was scored on a hold-out; deployed: last" in capsys.readouterr().out
    (tmp_path / "run.yaml").write_text(
        f"data: {{path: {tmp_path}/table.csv, target: kind}}\n"
        "base_model: mini\n"
        "finetuning: {max_steps: 2, n_estimators: 1, validation: null}\n"
        f"output: {{folder: {tmp_path}/runs}}\n"
    )
    assert main(["run", f"{tmp_path}/run.yaml", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == {"train": 120, "hold-out": 0, "test": 30}
    assert main(["run", f"{tmp_path}/run.yaml", "--quiet", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["hold_out"], result["deployed_weights"]) == (None, "last")
    assert set(result["test"]) == {"base", "deployed"}

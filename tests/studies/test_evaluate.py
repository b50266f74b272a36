"""A model on labelled rows: metrics, figures, a record of every row."""

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    brier_score_loss,
    f1_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)
from sklearn.model_selection import train_test_split
from tabpfn import TabPFNClassifier

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.cli import main
from finetune_tabpfn.models._base_models import mini
from finetune_tabpfn.studies import _figures, _metrics
from finetune_tabpfn.studies._evaluate import evaluate


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    """Give a folder with wines to learn from, others to test on, and a fitted model."""
    folder = tmp_path_factory.mktemp("wine")
    data = load_wine(as_frame=True)
    frame = data.frame.rename(columns={"target": "kind"})
    frame["kind"] = "kind " + frame["kind"].astype(str)
    train, test = train_test_split(frame, test_size=60, stratify=frame["kind"], random_state=0)
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    model = FinetunedTabPFNClassifier(
        base_model="mini", max_steps=0, n_estimators=1, random_state=0
    )
    train = pd.read_csv(folder / "train.csv")
    joblib.dump(model.fit(train.drop(columns="kind"), train["kind"]), folder / "model.joblib")
    return folder


def read_rows(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_a_fitted_model(wine, tmp_path, capsys):
    arguments = ["evaluate", str(wine / "model.joblib"), str(wine / "test.csv"), "--target", "kind"]
    assert main([*arguments, "--out", str(tmp_path), "--batch-size", "25", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert "60/60" in said.err  # progress is no result
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    test = pd.read_csv(wine / "test.csv")
    model = joblib.load(wine / "model.joblib")
    proba = model.predict_proba(test.drop(columns="kind"))
    assert found["metrics"]["log_loss"] == pytest.approx(log_loss(test["kind"], proba), rel=1e-4)
    assert found["metrics"]["accuracy"] == (model.classes_[proba.argmax(1)] == test["kind"]).mean()
    assert "top_3_accuracy" not in found["metrics"]  # of three classes it is 1
    rows = read_rows(tmp_path)
    assert [row["truth"] for row in rows] == test["kind"].tolist()
    assert rows[3]["input"]["alcohol"] == test["alcohol"][3]
    for row in rows:
        shares = [prediction["probability"] for prediction in row["predictions"]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert row["correct"] == (row["predictions"][0]["label"] == row["truth"])
    assert np.mean([row["correct"] for row in rows]) == pytest.approx(found["metrics"]["accuracy"])
    for name in ("confusion.png", "reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("always:.*that the model was fitted on:UserWarning")
def test_rows_of_the_fit_are_known_again(wine, tmp_path, capsys):
    """In whatever file, format and order they stand; what is new is not taken for them."""
    train, test = (pd.read_csv(wine / name) for name in ("train.csv", "test.csv"))
    again = pd.concat([train.sample(30, random_state=0), test])
    again.to_parquet(tmp_path / "again.parquet")
    options = ["--target", "kind", "--json"]
    model = str(wine / "model.joblib")
    assert main(["evaluate", model, str(tmp_path / "again.parquet"), *options]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("finetune-tabpfn: 30 of 90 rows of ")
    assert "are rows that the model was fitted on" in said.err.splitlines()[0]
    assert "90/90" in said.err  # the bar of the wait comes after the warning
    assert json.loads(said.out)["rows"] == 90
    assert main(["evaluate", model, str(wine / "test.csv"), *options, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_base_model_and_its_context(wine, capsys):
    options = ["--target", "kind", "--n-estimators", "1", "--quiet"]
    given = [wine / "test.csv", "--context-data", wine / "train.csv", *options]
    assert main(["evaluate", "mini", *map(str, given)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "60 rows, classification of 'kind'" in said.out
    assert "top_2_accuracy" in said.out


def test_context_and_fitting_come_to_the_same(wine):
    settings = {"target": "kind", "n_estimators": 1, "random_state": 0}
    fitted = evaluate(wine / "model.joblib", wine / "test.csv", target="kind")
    given = evaluate(
        "mini", wine / "test.csv", context_data=wine / "train.csv", batch_size=60, **settings
    )
    assert given.metrics == pytest.approx(fitted.metrics, rel=1e-4)


def test_a_file_of_tabpfn_itself(wine, tmp_path):
    train = pd.read_csv(wine / "train.csv")
    path = str(mini("classification").path)
    plain = TabPFNClassifier(model_path=path, device="cpu", n_estimators=1)
    plain.fit(train.drop(columns="kind"), train["kind"]).save_fit_state(tmp_path / "m.tabpfn_fit")
    found = evaluate(tmp_path / "m.tabpfn_fit", wine / "test.csv", target="kind")
    assert found.metrics["accuracy"] > 0.9


def test_a_quantity(tmp_path):
    frame = load_diabetes(as_frame=True).frame
    frame[:300].to_parquet(tmp_path / "train.parquet")
    frame[300:].to_json(tmp_path / "test.jsonl", orient="records", lines=True)
    found = evaluate(
        "mini",
        tmp_path / "test.jsonl",
        target="target",
        context_data=tmp_path / "train.parquet",
        out=tmp_path / "out",
        n_estimators=1,
        random_state=0,
    )
    assert found.task == "regression"
    assert found.metrics["r2"] > 0.3
    assert 0.6 < found.metrics["coverage_80"] < 0.95
    rows = read_rows(tmp_path / "out")
    error = [row["prediction"] - row["truth"] for row in rows]
    assert np.sqrt(np.mean(np.square(error))) == pytest.approx(found.metrics["rmse"])
    inside = [row["interval_80"][0] <= row["truth"] <= row["interval_80"][1] for row in rows]
    assert [row["correct"] for row in rows] == inside
    assert {Path(file).name for file in found.files} == {
        "rows.jsonl",
        "scatter.png",
        "reliability.png",
        "metrics.json",
    }


def test_labels_that_are_missing_or_unknown(wine, tmp_path):
    test = pd.read_csv(wine / "test.csv")
    test.loc[:4, "kind"] = None
    test.loc[5:7, "kind"] = "kind 9"
    test.to_csv(tmp_path / "odd.csv", index=False)
    found = evaluate(wine / "model.joblib", tmp_path / "odd.csv", target="kind")
    assert (found.rows, found.rows_without_label, found.rows_of_unknown_labels) == (55, 5, 3)
    assert found.metrics["accuracy"] <= 52 / 55
    assert np.isfinite(found.metrics["log_loss"])
    assert "3 rows have a label that the model does not know" in found.as_text()
    test["kind"] = "kind 9"
    test.to_csv(tmp_path / "odd.csv", index=False)
    found = evaluate(wine / "model.joblib", tmp_path / "odd.csv", target="kind", out=tmp_path)
    assert found.metrics["accuracy"] == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["log_loss"] is None


def test_numbers_as_labels_of_a_model_of_text(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80)})
    frame["y"] = (frame["x"] > 0).astype(int)
    frame.to_csv(tmp_path / "t.csv", index=False)
    model = LogisticRegression().fit(frame[["x"]], frame["y"].astype(str))
    joblib.dump(model, tmp_path / "m.joblib")  # any classifier of scikit-learn will do
    assert evaluate(tmp_path / "m.joblib", tmp_path / "t.csv", target="y").metrics["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}", "no.csv"], "no.csv is not a file"),
        (["{model}", "{train}", "--batch-size", "0"], "batch_size=0 must be 1 or more"),
        (["{model}", "{train}", "--top", "0"], "top=0 must be 1 or more"),
        (
            ["mini", "{train}"],
            "mini is not a fitted estimator (.joblib, .tabpfn_fit); a checkpoint",
        ),
        (["none.joblib", "{train}"], "none.joblib is not a file"),
        (["{model}", "{train}", "--context-data", "{train}"], "is fitted already and takes no"),
        (["none", "{train}", "--context-data", "{train}"], "base_model='none' is neither a file"),
        (["{model}", "{train}", "--target", "nose"], "There is no column 'nose'"),
    ],
)
def test_what_evaluate_cannot_do(arguments, message, wine, capsys):
    names = {"model": wine / "model.joblib", "train": wine / "train.csv"}
    given = [argument.format(**names) for argument in arguments]
    assert main(["evaluate", "--target", "kind", "--quiet", *given]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


class StopsAtTheSecondBatch(ClassifierMixin, BaseEstimator):
    """A classifier in whose second batch somebody presses Ctrl-C."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        if X.index[0]:
            raise KeyboardInterrupt
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def test_an_interrupted_evaluation_leaves_no_half_file(wine, tmp_path):
    model, out = tmp_path / "m.joblib", tmp_path / "out"
    joblib.dump(StopsAtTheSecondBatch().fit(None, ["kind 0", "kind 1"]), model)
    data = ["evaluate", str(model), str(wine / "test.csv"), "--target", "kind"]
    assert main([*data, "--out", str(out), "--batch-size", "20", "--quiet"]) == 130
    assert list(out.iterdir()) == []


def answers(n_classes, n_rows=300, seed=0):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(n_classes), n_rows)
    return np.array([rng.choice(n_classes, p=p) for p in proba]), proba


@pytest.mark.parametrize("n_classes", [2, 5])
def test_class_metrics_are_those_of_scikit_learn(n_classes):
    codes, proba = answers(n_classes)
    found = _metrics.class_metrics(codes, proba)
    assert found["log_loss"] == pytest.approx(log_loss(codes, proba))
    assert found["f1_macro"] == pytest.approx(f1_score(codes, proba.argmax(1), average="macro"))
    if n_classes == 2:
        assert found["roc_auc"] == pytest.approx(roc_auc_score(codes, proba[:, 1]))
        assert found["brier"] == pytest.approx(2 * brier_score_loss(codes, proba[:, 1]))
    else:
        area = roc_auc_score(codes, proba, multi_class="ovr")
        assert found["roc_auc"] == pytest.approx(area)
        for k in (2, 3):
            top = top_k_accuracy_score(codes, proba, k=k)
            assert found[f"top_{k}_accuracy"] == pytest.approx(top)


def test_probabilities_that_are_drawn_from_are_reliable():
    codes, proba = answers(3, 4000)
    assert _metrics.class_metrics(codes, proba)["calibration_error"] < 0.03
    certain = np.eye(3)[proba.argmax(1)]
    assert _metrics.class_metrics(codes, certain)["calibration_error"] > 0.2


@pytest.mark.parametrize("n_classes", [2, 12, 60])
def test_confusion_matrices_of_any_size_are_drawn(n_classes, tmp_path):
    codes, proba = answers(n_classes)
    labels = [f"a label of ${k}" for k in range(n_classes)]
    counts = _metrics.confusion(codes, proba.argmax(1), n_classes)
    assert counts.sum() == len(codes)
    _figures.draw_confusion(counts, labels, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_figures_leave_pyplot_alone(tmp_path):
    from matplotlib import pyplot, rcParams

    before = dict(rcParams)
    codes, proba = answers(2)
    found = _metrics.reliability(*_metrics.confidences(codes, proba))
    y = np.linspace(0, 1, 300)
    _figures.draw_reliability(found, "probability", tmp_path / "r.png")
    _figures.draw_coverage(y, proba[:, :1] + np.linspace(-0.5, 0.5, 9), tmp_path / "c.png")
    _figures.draw_scatter(y, proba[:, 0], "a target of $1 or $2", tmp_path / "s.png")
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in "rcs")
    assert pyplot.get_fignums() == []
    assert dict(rcParams) == before

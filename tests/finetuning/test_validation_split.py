"""Several hold-outs: every row validates once, and the networks of all folds predict together."""

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import TimeSeriesSplit

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor, plot_history
from finetune_tabpfn.models._export import save_model

QUICK = {
    "base_model": "mini",
    "max_steps": 4,
    "eval_interval": 2,
    "n_estimators": 1,
    "n_folds": 3,
    "random_state": 0,
}
X, Y = make_classification(150, 4, random_state=0)
NAMES = np.array(["no", "yes"])[Y]
TABLE, TARGET = make_regression(150, 4, noise=10, random_state=0)


@pytest.fixture(scope="module")
def classifier():
    return FinetunedTabPFNClassifier(**QUICK).fit(X, NAMES)


@pytest.fixture(scope="module")
def regressor():
    return FinetunedTabPFNRegressor(**QUICK).fit(TABLE, TARGET)


@pytest.mark.slow
def test_every_fold_has_its_rounds_and_its_network(classifier):
    assert classifier.history_["fold"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert len(classifier.predictors_) == 3
    assert classifier.n_steps_ == 12
    first = [next(iter(p.models_[0].parameters())) for p in classifier.predictors_]
    assert not np.array_equal(first[0].detach().numpy(), first[1].detach().numpy())


def test_probabilities_are_the_mean_over_folds(classifier):
    each = [predictor.predict_proba(X) for predictor in classifier.predictors_]
    np.testing.assert_allclose(classifier.predict_proba(X), np.mean(each, axis=0), rtol=1e-6)
    assert set(classifier.predict(X)) == {"no", "yes"}


def test_every_row_is_held_out_once():
    held_out = []

    def scorer(estimator, X, y):
        if not held_out or not np.array_equal(held_out[-1], X):
            held_out.append(X)
        return 0.0

    FinetunedTabPFNClassifier(**QUICK, scoring=scorer).fit(X, NAMES)
    np.testing.assert_allclose(np.sort(np.concatenate(held_out), axis=0), np.sort(X, axis=0))


def test_groups_stay_whole_in_every_fold():
    groups = np.repeat(np.arange(15), 10)
    seen = []

    def scorer(estimator, X, y):
        seen.append(set(X[:, -1]))
        return 0.0

    table = np.column_stack([X, groups])
    FinetunedTabPFNClassifier(**QUICK, scoring=scorer).fit(table, NAMES, groups=groups)
    folds = [seen[0], seen[4], seen[8]]  # four evaluations a fold: three evaluations, the average
    assert set.union(*folds) == set(range(15))


def test_a_distribution_is_the_mixture_of_the_folds(regressor):
    means = [predictor.predict(TABLE) for predictor in regressor.predictors_]
    np.testing.assert_allclose(regressor.predict(TABLE), np.mean(means, axis=0), rtol=1e-3)
    low, high = regressor.predict(TABLE, output_type="quantiles", quantiles=[0.1, 0.9])
    assert (low < high).all()
    full = regressor.predict(TABLE, output_type="full")
    assert {"mean", "median", "mode", "quantiles", "criterion", "logits"} <= set(full)
    np.testing.assert_allclose(full["median"], regressor.predict(TABLE, output_type="median"))


def test_the_curve_has_a_line_for_each_fold(classifier):
    scores, losses, _ = plot_history(classifier)
    evaluations = [
        line for line in scores.get_lines() if line.get_label().strip("_") == "evaluation"
    ]
    assert len(evaluations) == len(losses.get_lines()) == 3
    shown = [text.get_text() for text in scores.get_legend().get_texts()]
    assert shown == ["base model", "evaluation", "best evaluation"]


def test_joblib_keeps_all_networks(classifier, tmp_path):
    joblib.dump(classifier, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    assert loaded.predictor_ is loaded.predictors_[0]


def test_a_checkpoint_holds_one_network(classifier, tmp_path):
    with pytest.raises(ValueError, match="n_folds=3 made 3 networks"):
        save_model(classifier, tmp_path / "model-v3.safetensors")


@pytest.mark.slow
def test_the_time_is_divided():
    parameters = {**QUICK, "max_steps": 10_000, "patience": None, "time_limit": 6}
    model = FinetunedTabPFNClassifier(**parameters).fit(X, NAMES)
    seconds = model.history_.groupby("fold")["seconds"].max()
    assert len(seconds) == 3
    assert seconds.sum() < 6.3


def test_ways_to_divide():
    model = FinetunedTabPFNClassifier(**QUICK, validation=TimeSeriesSplit(5))
    assert len(model.fit(X, NAMES).predictors_) == 3
    with pytest.raises(ValueError, match="n_folds=3 does not go with validation='time'"):
        FinetunedTabPFNClassifier(**QUICK, validation="time").fit(X, NAMES)
    with pytest.raises(ValueError, match="n_folds=3 does not go with X_val"):
        FinetunedTabPFNClassifier(**QUICK).fit(X, NAMES, X_val=X, y_val=NAMES)
    with pytest.raises(ValueError, match="n_folds=200 cannot divide the rows"):
        FinetunedTabPFNClassifier(**{**QUICK, "n_folds": 200}).fit(X, NAMES)

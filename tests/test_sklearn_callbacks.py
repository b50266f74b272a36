"""scikit-learn's own callbacks see the evaluations of a fit (scikit-learn 1.9 and newer)."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

from finetune_tabpfn import FinetunedTabPFNClassifier

sklearn_callback = pytest.importorskip("sklearn.callback")

X, Y = make_classification(120, 4, random_state=0)
NAMES = np.array(["no", "yes"])[Y]


def classifier(**parameters):
    quick = {"max_steps": 4, "eval_interval": 2, "n_estimators": 1, "random_state": 0}
    return FinetunedTabPFNClassifier(base_model="mini", **{**quick, **parameters})


class Diary:
    """Notes what it is told."""

    def __init__(self, stop_at=None):
        self.lines, self.stop_at, self.fitted = [], stop_at, []

    def setup(self, estimator, context):
        self.lines.append("setup")

    def teardown(self, estimator, context):
        self.lines.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.lines.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.lines.append(f"end {context.task_name} {context.task_id}")
        if fitted_estimator is not None:
            self.fitted.append(fitted_estimator.predict_proba(X))
        return context.task_name == "evaluation" and context.task_id == self.stop_at


def test_a_fit_is_a_task_and_every_round_its_subtask():
    diary = Diary()
    model = classifier().set_callbacks(diary).fit(X, NAMES)
    evaluations = [
        line for n in range(3) for line in (f"begin evaluation {n}", f"end evaluation {n}")
    ]
    assert diary.lines == ["setup", "begin fit 0", *evaluations, "end fit 0", "teardown"]
    assert not np.array_equal(diary.fitted[0], diary.fitted[1])  # the weights of the moment
    np.testing.assert_array_equal(diary.fitted[-1], model.predict_proba(X))


@pytest.mark.slow
def test_being_watched_changes_nothing():
    watched = classifier().set_callbacks(Diary()).fit(X, NAMES)
    np.testing.assert_array_equal(
        watched.predict_proba(X), classifier().fit(X, NAMES).predict_proba(X)
    )


def test_a_callback_stops_the_fit():
    diary = Diary(stop_at=1)
    model = classifier(max_steps=20).set_callbacks(diary).fit(X, NAMES)
    assert model.n_steps_ == 2
    assert model.stop_reason_ == "stopped by a callback of scikit-learn"
    assert diary.lines[-1] == "teardown"


def test_teardown_runs_when_the_fit_fails():
    diary = Diary()
    with pytest.raises(ValueError, match="scoring"):
        classifier(scoring="nonsense").set_callbacks(diary).fit(X, NAMES)
    assert diary.lines[-1] == "teardown"


def test_scoring_monitor_has_a_score_for_every_round():
    monitor = sklearn_callback.ScoringMonitor(scoring="neg_log_loss")
    model = classifier().set_callbacks(monitor).fit(X, NAMES)
    log = monitor.get_logs().data_as_pandas
    evaluations = log[log["task_name"] == "evaluation"]
    assert len(evaluations) == len(model.history_)
    assert evaluations["neg_log_loss"].nunique() > 1


@pytest.mark.slow
def test_the_progress_bar_shows_rounds_below_a_search(capsys):
    pytest.importorskip("rich")
    search = GridSearchCV(classifier(), {"learning_rate": [1e-4, 1e-3]}, cv=2)
    search.set_callbacks(sklearn_callback.ProgressBar()).fit(X, NAMES)
    assert "FinetunedTabPFNClassifier" in capsys.readouterr().out


def test_callbacks_are_kept_by_clone_and_ours_work_beside_them():
    class Counter:
        evaluations = 0

        def after_evaluation(self, state):
            self.evaluations += 1

    ours, theirs = Counter(), Diary()
    model = clone(classifier().set_callbacks(theirs)).set_params(callbacks=[ours])
    model.fit(X, NAMES)
    assert ours.evaluations == 3
    assert "end evaluation 2" in model._skl_callbacks[0].lines

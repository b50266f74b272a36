"""Adaptive search: proposals that follow from the records, and fits that are given up."""

from types import SimpleNamespace

import pytest
from sklearn.datasets import load_iris

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.studies import Range, Study, search_space
from finetune_tabpfn.studies._optuna import PRUNED, Pruning
from finetune_tabpfn.training._state import HistoryRow

optuna = pytest.importorskip("optuna")

QUICK = {"base_model": "mini", "max_steps": 1, "n_estimators": 1}
TABLE = load_iris(as_frame=True).frame.sample(60, random_state=0).reset_index(drop=True)
SPACE = {"learning_rate": Range(1e-4, 1e-2, log=True), "batch_size": [1, 2]}


def search(folder, n_trials, **others):
    study = Study(folder, save_models=False)
    arguments = {"target": "target", "parameters": QUICK, "n_trials": n_trials, **others}
    return study.optuna_search(SPACE, TABLE, **arguments)


def proposed(experiments):
    return [{name: one.parameters[name] for name in SPACE} for one in experiments]


@pytest.mark.slow
def test_a_search_that_goes_on_proposes_what_an_uninterrupted_one_does(tmp_path):
    whole = search(tmp_path / "whole", 4)
    first = search(tmp_path / "parts", 2)
    parts = search(tmp_path / "parts", 4)
    assert parts[:2] == first
    assert proposed(parts) == proposed(whole)
    assert [one.number for one in parts] == [0, 1, 2, 3]
    assert len({str(settings) for settings in proposed(whole)}) == 4


@pytest.mark.slow
def test_the_proposals_hang_on_the_seed_and_the_record_tells_of_the_search(tmp_path):
    (one,) = search(tmp_path, 1)
    (other,) = search(tmp_path, 1, random_state=1)
    assert proposed([one]) != proposed([other])
    assert 1e-4 <= one.parameters["learning_rate"] <= 1e-2
    assert one.number == other.number == 0
    assert one.search != other.search


def earlier(study, scores):
    for score in scores:
        trial = study.ask()
        trial.report(score, 10)
        study.tell(trial, score)


def fit_with(score):
    """Return the state of a fit after its first evaluation."""
    row = HistoryRow(1, 10, 1.0, 0.5, score, 1e-4)
    return SimpleNamespace(history=[row], step=10)


@pytest.mark.parametrize(("score", "said"), [(-0.9, PRUNED), (-0.1, None)])
def test_a_fit_behind_the_median_of_the_others_is_given_up(score, said):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    earlier(study, [-0.5] * 5)
    assert Pruning(study.ask()).after_evaluation(fit_with(score)) == said


@pytest.mark.slow
def test_a_fit_that_is_given_up_is_recorded_as_pruned_and_has_no_metrics(tmp_path):
    study = Study(tmp_path, save_models=False)
    found = study.optuna_search(
        {"learning_rate": [1e-7, 0.01]},  # one of them is behind the other
        TABLE,
        target="target",
        n_trials=8,
        parameters={**QUICK, "max_steps": 2, "eval_interval": 1},
    )
    assert {one.status for one in found[:5]} == {"done"}
    pruned = [one for one in found if one.status == "pruned"]
    assert pruned
    for one in pruned:
        assert one.validation == {}
        assert one.history
        assert one.error is None
    assert study.best().status == "done"
    assert set(study.compare()["status"]) == {"done", "pruned"}


def test_the_space_of_one_definition_serves_optuna(tmp_path):
    space = search_space()
    trial = optuna.create_study().ask()
    FinetunedTabPFNClassifier().set_params(**space.suggest(trial))._validate_params()
    assert set(trial.params) == set(space)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "space={} must be a mapping"),
        ({"batch_size": 3}, "space has batch_size=3, which must be a list or a Range"),
        ({"class_weight": [{"a": 1}]}, "Optuna takes text, numbers, booleans and None"),
        ({"learning_rate": Range(0.1, 7.0)}, "'learning_rate' parameter .* Got 7.0"),
        ({"tuning": ["full", "fulll"]}, "'tuning' parameter"),
    ],
)
def test_a_space_that_cannot_be_searched_is_said_before_anything_is_fitted(space, said, tmp_path):
    study = Study(tmp_path)
    with pytest.raises(ValueError, match=said):
        study.optuna_search(space, TABLE, target="target", parameters=QUICK)
    with pytest.raises(ValueError, match="n_trials=0 must be a whole number from 1"):
        study.optuna_search(SPACE, TABLE, target="target", n_trials=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_optunas_own_words_are_as_loud_as_before(tmp_path):
    before = optuna.logging.get_verbosity()
    search(tmp_path, 1)
    assert optuna.logging.get_verbosity() == before

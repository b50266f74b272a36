"""Folders of runs, and the link to the best one."""

import json

import pytest

from finetune_tabpfn.runs._folders import link_best, new_folder


def run_with(experiment, score, scoring="neg_log_loss", target="y", test=None):
    """Make the folder of a run that has ended."""
    folder = new_folder(experiment)
    metrics = {
        "scoring": scoring,
        "target": target,
        "hold_out": None if score is None else {"deployed": {"score": score}},
        "test": None if test is None else {"deployed": {"score": test}},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_every_run_has_a_folder_of_its_own(tmp_path):
    folders = [new_folder(tmp_path / "churn") for _ in range(12)]
    assert len(set(folders)) == 12
    assert all(folder.is_dir() and folder.parent == tmp_path / "churn" for folder in folders)


def test_the_link_follows_the_best_score(tmp_path):
    worse = run_with(tmp_path, -0.5)
    assert link_best(worse, "hold-out") == worse
    better = run_with(tmp_path, -0.4)
    assert link_best(better, "hold-out") == better
    again = run_with(tmp_path, -0.45)
    assert link_best(again, "hold-out") == better
    assert (tmp_path / "best").resolve() == better


def test_the_test_score_can_decide(tmp_path):
    first, second = run_with(tmp_path, -0.4, test=-0.6), run_with(tmp_path, -0.5, test=-0.3)
    assert link_best(second, "hold-out") == first
    assert link_best(second, "test") == second


@pytest.mark.parametrize("other", [{"scoring": "roc_auc"}, {"target": "z"}])
def test_runs_that_are_scored_otherwise_do_not_compete(other, tmp_path):
    run_with(tmp_path, 0.9, **other)
    own = run_with(tmp_path, -0.5)
    assert link_best(own, "hold-out") == own


def test_what_was_not_scored_or_did_not_end_is_never_best(tmp_path):
    scored, unscored = run_with(tmp_path, -0.5), run_with(tmp_path, None)
    new_folder(tmp_path)
    assert link_best(unscored, "hold-out") == scored
    assert link_best(unscored, "test") == unscored  # nobody has a test score

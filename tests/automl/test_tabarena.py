"""Fine-tuned TabPFN as a model of TabArena: its protocol from end to end, on tables made here."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

pytest.importorskip("tabarena")
from tabarena.benchmark.experiment.bundle import TabArenaV0pt1ExperimentBundle
from tabarena.benchmark.task.metadata import TaskMetadataCollection
from tabarena.benchmark.task.user_task import UserTask
from tabarena.contexts.tabarena.context import TabArenaContext
from tabarena.models import get_model_registry

from finetune_tabpfn.automl import FinetunedTabPFNModel, tabarena_entry

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
QUICK = {"max_steps": 2, "n_estimators": 1, "eval_interval": 2}


def made_task(name, X, target, problem_type, folder):
    """Keep a table as TabArena keeps one, with two splits of its rows."""
    rows, cut = np.random.default_rng(0).permutation(len(X)).tolist(), len(X) // 3
    splits = {0: {0: (rows[cut:], rows[:cut]), 1: (rows[:-cut], rows[-cut:])}}
    task = UserTask(task_name=name, task_cache_path=folder)
    task.save_task(
        task.create_task(
            target_feature=target,
            problem_type=problem_type,
            dataset=X,
            splits=splits,
        )
    )
    return task


def test_the_entry_is_found_and_draws_configurations():
    entry = tabarena_entry("mini", **QUICK)
    assert get_model_registry()["FinetunedTabPFN"].model_cls is FinetunedTabPFNModel
    first, *drawn = entry.search_space.generate_all_configs_lst(4)
    assert first["base_model"] == "mini"
    assert len(drawn) == 4
    assert all(config["base_model"] == "mini" and config["max_steps"] == 2 for config in drawn)
    assert all(1e-4 <= config["learning_rate"] <= 2e-3 for config in drawn)
    assert len({config["learning_rate"] for config in drawn}) == 4


@pytest.mark.timeout(900)  # sixteen fits, and a machine may be busy
def test_the_lite_protocol_from_end_to_end(tmp_path):
    """Every table once, on its first split: eight folds of bagging, TabArena's own records."""
    iris = load_iris(as_frame=True).frame
    diabetes = load_diabetes(as_frame=True).frame[:150]
    tasks = [
        made_task("iris", iris, "target", "classification", tmp_path / "tasks"),
        made_task("diabetes", diabetes, "target", "regression", tmp_path / "tasks"),
    ]
    context = TabArenaContext(
        methods=[],
        task_metadata=TaskMetadataCollection.from_user_tasks(tasks),
        backend="native",
        fillna_method=None,
        calibration_method=None,
    )
    entry = tabarena_entry("mini", **QUICK)
    bundle = TabArenaV0pt1ExperimentBundle(
        models=[(entry.search_space, 0), ("LightGBM", 0)], sequential_local_fold_fitting=True
    )
    results = context.build_and_run_jobs(
        bundle.build_experiments(time_limit=120, num_cpus=1, num_gpus=0, memory_limit=16),
        expname=str(tmp_path / "run"),
        task_subset={"split_indices": "lite"},
        user_tasks=tasks,
        register=False,
        debug_mode=True,
    )
    assert len(results) == 2 * 2
    ours = [result for result in results if "FinetunedTabPFN" in result["framework"]]
    assert len(ours) == 2
    assert all(np.isfinite(result["metric_error"]) for result in results)
    assert all(np.isfinite(result["metric_error_val"]) for result in ours)

"""Searches on local clusters of two workers, with the real libraries: Dask and Ray."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.studies import Study
from finetune_tabpfn.utils._workers import worker_name, worker_number

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
QUICK = {"base_model": "mini", "max_steps": 2, "n_estimators": 1}
FLOWERS = load_iris(as_frame=True).frame.sample(frac=1, random_state=0).round(3)
TRAIN, TEST = FLOWERS[:80].reset_index(drop=True), FLOWERS[80:120].reset_index(drop=True)
# the first two fail, in a worker
GRID = {"class_weight": [{"nobody": 2}, None], "random_state": [0, 1]}


@contextmanager
def dask():
    distributed = pytest.importorskip("distributed")
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**local) as cluster, distributed.Client(cluster):
        yield joblib.parallel_config("dask")


@contextmanager
def ray():
    library = pytest.importorskip("ray")
    pytest.importorskip("ray.util.joblib").register_ray()
    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield joblib.parallel_config("ray", n_jobs=2)
    finally:
        library.shutdown()


@pytest.fixture(scope="module", params=[dask, ray], ids=["dask", "ray"])
def workers(request):
    """Give what lets joblib use the two workers."""
    with request.param() as config, config:
        yield request.param.__name__


def searched(folder, **options):
    study = Study(folder, save_models=False, **options)
    with pytest.warns(UserWarning, match="2 of 4 experiments failed"):
        return study.grid_search(GRID, TRAIN, test=TEST, target="target", parameters=QUICK)


def without_time(experiment):
    """Return what an experiment came to, without what differs from run to run."""
    found = experiment.model_dump(exclude={"id", "time", "seconds", "folder"})
    for row in found["history"]:
        del row["seconds"]
    return found


def test_a_study_comes_to_what_it_comes_to_alone(workers, tmp_path):
    spread = searched(tmp_path / "spread")
    with joblib.parallel_config("sequential"):
        alone = searched(tmp_path / "alone")
    assert [one.status for one in spread] == ["failed", "failed", "done", "done"]
    assert [without_time(one) for one in spread] == [without_time(one) for one in alone]
    assert len({one.folder for one in spread}) == 4


def test_a_search_of_scikit_learns_does_too_and_each_fit_logs_into_a_folder(workers, tmp_path):
    def search(folder):
        model = FinetunedTabPFNClassifier(**QUICK, random_state=0)
        model.set_params(loggers="jsonl", log_dir=folder, verbose=True)
        search = GridSearchCV(model, {"learning_rate": [1e-4, 1e-3]}, cv=2, scoring="neg_log_loss")
        return search.fit(TRAIN.drop(columns="target"), TRAIN["target"])

    spread = search(tmp_path / "spread")
    with joblib.parallel_config("sequential"):
        alone = search(tmp_path / "alone")
    for name in ("mean_test_score", "std_test_score"):
        assert spread.cv_results_[name].tolist() == alone.cv_results_[name].tolist()
    logs = sorted(str(log.relative_to(tmp_path / "spread")) for log in tmp_path.glob("spread/*/*"))
    assert logs == [f"fit-{number}/log.jsonl" for number in range(1, 6)]


def test_workers_are_known_by_name_and_draw_no_bars(workers):
    def told():  # sent as it is: workers do not know this file
        time.sleep(0.3)
        return worker_name(), worker_number(), os.getpid()

    assert worker_name() is None
    found = joblib.Parallel()(joblib.delayed(told)() for _ in range(6))
    assert {name.split("-")[0] for name, *_ in found} == {workers}
    assert len({name for name, *_ in found}) == len({pid for *_, pid in found})
    # Ray hides the GPUs of others from a worker, and needs no number
    assert {number for _, number, _ in found} <= ({0, 1} if workers == "dask" else {None})


INTERRUPTED = """
import sys, joblib
from distributed import Client, LocalCluster
sys.path[:0] = {path!r}
from cluster.test_cluster import QUICK, TRAIN
from finetune_tabpfn.studies import Study
if __name__ == "__main__":
    local = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with LocalCluster(**local) as cluster, Client(cluster), joblib.parallel_config("dask"):
        study = Study({folder!r}, save_models=False, verbose=True)
        parameters = {{**QUICK, "max_steps": 100000, "patience": None, "eval_interval": 20}}
        study.grid_search(
            {{"random_state": [0, 1]}}, TRAIN, target="target", parameters=parameters
        )
"""


def test_ctrl_c_ends_a_study_on_a_cluster_and_leaves_no_record(tmp_path):
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    folders = [os.path.dirname(os.path.dirname(__file__))]
    script.write_text(INTERRUPTED.format(path=folders, folder=str(tmp_path / "study")))
    told = tmp_path / "told"
    with told.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, script], stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            while told.read_text().count("begins") < 2:
                time.sleep(0.5)
                assert process.poll() is None, told.read_text()
            time.sleep(2)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            assert process.wait(60) != 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert "KeyboardInterrupt" in told.read_text()
    assert not list((tmp_path / "study").glob("*/results.json"))

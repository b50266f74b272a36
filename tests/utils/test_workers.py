"""Who a process is among several, and which GPU is its own."""

from concurrent.futures import ThreadPoolExecutor

import joblib
import pytest

from finetune_tabpfn.utils._workers import gpu_of, launched, worker_name, worker_number

TORCHRUN = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "localhost"}


def who():
    return worker_name(), worker_number(), launched(TORCHRUN)


def test_a_program_of_its_own_is_no_worker():
    assert worker_name() is None
    assert worker_number({}) is None
    assert launched({}) == (0, 1)


def test_the_processes_of_torchrun_are_numbered():
    assert launched(TORCHRUN) == (5, 8)
    assert worker_number(TORCHRUN) == 1


@pytest.mark.parametrize("changes", [{"WORLD_SIZE": "1"}, {"FINETUNE_TABPFN_SHARE": "0"}])
def test_a_process_may_have_its_fits_for_itself(changes):
    assert launched({**TORCHRUN, **changes}) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_joblibs_workers_have_a_name_and_number_and_are_none_of_torchruns(backend):
    with joblib.parallel_config(backend, n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(who)() for _ in range(4))
    for name, number, processes in found:
        assert name.endswith(f"-{number + 1}")
        assert processes == (0, 1)


def test_a_thread_of_a_pool_is_a_worker_without_a_number():
    with ThreadPoolExecutor(1) as pool:
        name, number, processes = pool.submit(who).result()
    assert name.startswith("ThreadPoolExecutor")
    assert number is None
    assert processes == (0, 1)


def test_gpus_are_dealt_out_in_turn():
    assert [gpu_of(number, 2) for number in range(4)] == [0, 1, 0, 1]
    assert gpu_of(None, 4) == 0
    assert gpu_of(3, 1) == 0  # the others have been hidden

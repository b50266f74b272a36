"""What a fit will take, said before it: memory from shapes, seconds from measured steps."""

import subprocess
import sys
import time

import numpy as np
import pytest

from finetune_tabpfn import (
    FinetunedTabPFNRegressor,
    estimate_memory,
    estimate_seconds,
)

MINI = {"base_model": "mini", "random_state": 0}


def made(n_rows, n_columns):
    return np.random.default_rng(1).normal(size=(n_rows, n_columns))


@pytest.mark.slow
@pytest.mark.parametrize(("n_rows", "n_folds"), [(300, 1), (240, 4)])
def test_seconds_are_those_of_a_fit_that_nothing_stops(n_rows, n_folds):
    """Within a fifth on an idle machine (benchmarks/automl.py); this one may be busy."""
    settings = {**MINI, "max_steps": 40, "patience": None, "n_folds": n_folds}
    X = made(n_rows, 8)
    FinetunedTabPFNRegressor(**{**settings, "max_steps": 1}).fit(X, X[:, 0])
    estimated = estimate_seconds(n_rows, 8, **settings)
    began = time.monotonic()
    FinetunedTabPFNRegressor(**settings).fit(X, X[:, 0])
    assert 1 / 3 < estimated / (time.monotonic() - began) < 3


FIT = """
import numpy as np
from finetune_tabpfn import FinetunedTabPFNClassifier
X, y = np.random.default_rng(1).normal(size=({rows}, {columns})), np.arange({rows}) % 2
FinetunedTabPFNClassifier(base_model="mini", random_state=0, max_steps=2, n_folds=1).fit(X, y)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is told in other units")
@pytest.mark.parametrize(("rows", "columns"), [(200, 5), (1500, 60)])
def test_memory_is_that_of_a_process_that_fits(rows, columns):
    program = FIT.format(rows=rows, columns=columns)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    estimated = estimate_memory(rows, columns, 2, **MINI, n_folds=1)
    assert 0.7 < estimated / (1024 * int(done.stdout)) < 1.4


def test_memory_grows_with_what_is_asked_for():
    small = estimate_memory(500, 10, 2, **MINI)
    assert estimate_memory(500, 60, 2, **MINI) > small
    assert estimate_memory(50_000, 10, 2, **MINI) > small
    assert estimate_memory(500, 10, 2, **MINI, context_size=50, training={"query_size": 20}) < small
    assert estimate_memory(500, 10, 2, **MINI, batch_size=8) > small
    spread = {"batch_size": 8, "gradient_accumulation_steps": 8}
    assert estimate_memory(500, 10, 2, **MINI, **spread) == small


def test_seconds_end_at_the_time_limit_and_grow_with_the_steps():
    assert estimate_seconds(100, 4, 3, **MINI, max_steps=10**6, time_limit=5) == 5
    few, many = (estimate_seconds(100, 4, 3, **MINI, max_steps=n) for n in (10, 1000))
    assert few < many


@pytest.mark.parametrize("estimate", [estimate_memory, estimate_seconds])
@pytest.mark.parametrize(
    ("sizes", "settings", "message"),
    [
        ((0, 4, 2), {}, r"n_rows=0 must be a whole number from 1\."),
        ((made(9, 2), np.arange(9), 2), {}, r"n_rows=ndarray must be .*they are \*X\.shape"),
        ((50, 1.5, 2), {}, r"n_columns=1.5 must be a whole number from 1\."),
        ((50, 4, -1), {}, r"n_classes=-1 must be a whole number from 0\."),
        ((6, 4, 2), {}, "nothing to train on"),
        ((50, 4, 2), {"max_steps": -1}, "'max_steps' parameter"),
        ((50, 4, 0), {"balanced_contexts": True}, "is for classification"),
    ],
)
def test_what_fit_would_refuse(estimate, sizes, settings, message):
    with pytest.raises(ValueError, match=message):
        estimate(*sizes, **MINI, **settings)


@pytest.mark.parametrize("estimate", [estimate_memory, estimate_seconds])
def test_an_unknown_parameter_is_said_in_one_sentence(estimate):
    with pytest.raises(TypeError, match="did you mean 'max_steps'"):
        estimate(50, 4, 2, max_step=3)

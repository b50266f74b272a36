"""What the defaults resolve to, and what a fit is expected to cost."""

from unittest.mock import patch

import pytest
import torch

from finetune_tabpfn import recipe
from finetune_tabpfn.forecasting import extrapolate

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.mark.parametrize(
    ("n_parameters", "low", "high"),
    [(0.9e6, 3e-4, 1e-3), (7.2e6, 2e-5, 1e-4), (11e6, 2e-5, 6e-5), (60e6, 1e-5, 1e-5)],
)
def test_larger_networks_learn_more_slowly(n_parameters, low, high):
    assert low <= recipe.learning_rate(int(n_parameters)) <= high


@pytest.mark.parametrize("n_rows", [2, 3, 10, 100, 1000, 10_000, 100_000])
@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("context_size", [None, 1, 500, 10**6])
@pytest.mark.parametrize("query_size", [None, 1, 500, 10**6])
def test_splits_fit_every_table(n_rows, device, context_size, query_size):
    sizes = recipe.split_sizes(n_rows, device, context_size, query_size)
    assert sizes.context >= 1
    assert sizes.query >= 1
    assert sizes.context + sizes.query <= n_rows


def test_what_is_asked_for_is_what_is_given():
    sizes = recipe.split_sizes(10_000, CPU, 3000, 700)
    assert (sizes.context, sizes.query) == (3000, 700)
    assert recipe.split_sizes(100_000, GPU, None, None).query == 1024
    assert recipe.split_sizes(100_000, CPU, None, None).context < 1024


def test_a_round_is_ten_steps_unless_validation_would_dominate():
    def steps(validation_rows, interval="auto"):
        return recipe.round_steps(
            interval, split_rows=1000, batch_size=1, validation_rows=validation_rows
        )

    assert steps(1000) == 10
    assert steps(100_000) == 283  # 100,000 rows forward: 15 %, beside 283 steps of 2,000
    assert steps(100_000, interval=7) == 7


def test_half_precision_where_the_hardware_gains():
    assert recipe.precision("auto", torch.device("mps")) == "fp32"
    with patch("torch.backends.cpu.get_cpu_capability", return_value="AVX512"):
        assert recipe.precision("auto", CPU) == "auto"  # measured, see test_prepared.py
    with patch("torch.backends.cpu.get_cpu_capability", return_value="AVX2"):
        assert recipe.precision("auto", CPU) == "fp32"  # it has no units for bf16
    assert recipe.precision("bf16", CPU) == "bf16"


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_costs_are_extrapolated_with_a_margin(power):
    now = [0.0]

    def work(rows):
        now[0] += rows**power / 1e4

    seconds = extrapolate(work, 4096, budget=1e9, clock=lambda: now[0])
    assert 4096**power / 1e4 <= seconds * 1.0001
    assert seconds <= 2.1 * 4096**power / 1e4


def test_probing_stops_when_its_own_time_is_over():
    now, asked = [0.0], []

    def work(rows):
        asked.append(rows)
        now[0] += rows / 10

    extrapolate(work, 10**6, budget=30, clock=lambda: now[0])
    assert max(asked) <= 256

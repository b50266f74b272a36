"""What the defaults resolve to."""

from unittest.mock import patch

import pytest
import torch

from finetune_tabpfn.finetuning import _defaults

MINI, V2 = 1_200_000, 7_200_000  # parameters
CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.mark.parametrize(
    ("n_parameters", "low", "high"),
    [(0.9e6, 3e-4, 1e-3), (7.2e6, 2e-5, 1e-4), (11e6, 2e-5, 6e-5), (60e6, 1e-5, 1e-5)],
)
def test_larger_networks_learn_more_slowly(n_parameters, low, high):
    assert low <= _defaults.learning_rate(int(n_parameters)) <= high


def test_small_tables_learn_more_slowly():
    usual = _defaults.learning_rate(MINI)
    assert _defaults.learning_rate(MINI, 1000) == usual
    assert _defaults.learning_rate(MINI, 200) == pytest.approx(usual / 3)


@pytest.mark.parametrize("n_rows", [2, 3, 10, 100, 1000, 10_000, 100_000])
@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("context_size", [None, 1, 500, 10**6])
@pytest.mark.parametrize("query_size", [None, 1, 500, 10**6])
def test_splits_fit_every_table(n_rows, device, context_size, query_size):
    sizes = _defaults.split_sizes(n_rows, device, context_size, query_size)
    assert sizes.context >= 1
    assert sizes.query >= 1
    assert sizes.context + sizes.query <= n_rows


def test_what_is_asked_for_is_what_is_given():
    sizes = _defaults.split_sizes(10_000, CPU, 3000, 700)
    assert (sizes.context, sizes.query) == (3000, 700)
    assert _defaults.split_sizes(100_000, GPU, None, None).query == 1024
    assert _defaults.split_sizes(100_000, CPU, None, None).context < 1600


def test_the_context_of_a_split_is_nearly_what_is_deployed():
    assert _defaults.split_sizes(1000, CPU, None, None) == _defaults.SplitSizes(800, 200)
    assert _defaults.split_sizes(1000, CPU, None, 400) == _defaults.SplitSizes(600, 400)


def test_a_round_is_ten_steps_unless_validation_would_dominate():
    def steps(validation_rows, interval="auto"):
        return _defaults.eval_interval(interval, step_rows=1000, validation_rows=validation_rows)

    assert steps(1000) == 10
    assert steps(100_000) == 283  # 100,000 rows forward: 15 %, beside 283 steps of 2,000
    assert steps(100_000, interval=7) == 7


def test_training_precision_is_by_what_the_device_has_and_the_size_of_the_network():
    assert _defaults.precision("auto", torch.device("mps"), V2) == "fp32"
    with patch("torch.cpu._is_avx512_bf16_supported", return_value=True):
        assert _defaults.precision("auto", CPU, V2) == "bf16"
        assert _defaults.precision("auto", CPU, MINI) == "fp32"
    with patch("torch.cpu._is_avx512_bf16_supported", return_value=False):
        assert _defaults.precision("auto", CPU, V2) == "fp32"  # it has no units for bf16
    with patch("torch.cuda.is_bf16_supported", return_value=True):
        assert _defaults.precision("auto", GPU, V2) == "bf16"
        assert _defaults.precision("auto", GPU, MINI) == "fp32"
    assert _defaults.precision("bf16", CPU, MINI) == "bf16"


def test_predictions_leave_float32_only_where_asked_or_on_a_gpu_that_gains():
    assert not _defaults.half_precision_inference("auto", CPU, V2)
    assert not _defaults.half_precision_inference("auto", GPU, MINI)
    assert not _defaults.half_precision_inference("fp32", GPU, V2)
    assert _defaults.half_precision_inference("auto", GPU, V2)
    assert _defaults.half_precision_inference("bf16", CPU, MINI)

"""Where an estimator predicts: on one device, or its members on several at once.

What several devices share is tabpfn's own: a copy of the network on each, and a thread for each.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from tabpfn.parallel_execute import parallel_execute
from torch import nn

from finetune_tabpfn._tabpfn._network import TabPFN, as_tabpfn_takes_them

CPU = torch.device("cpu")


class Pass(Protocol):
    """A forward pass that may be made on any device."""

    def __call__(self, *, device: torch.device) -> torch.Tensor:
        """Return the output, on that device."""
        ...


def run_on(devices: Sequence[torch.device], passes: Iterable[Pass]) -> Iterator[torch.Tensor]:
    """Yield the outputs of passes in their order, each made on the next device that is free.

    With one device each pass is made when its output is asked for.
    """
    return parallel_execute(devices, passes)


def network_on(network: nn.Module, devices: Sequence[torch.device]) -> dict[torch.device, Any]:
    """Return a network on each of several devices: itself on the first, copies on the others.

    They share its forward hooks, which may be anybody's: what these hold is not copied.
    """
    first, *others = devices
    hooks = {
        id(hook): hook
        for module in network.modules()
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    }
    copies = {
        device: copy.deepcopy(network, _weights_on(network, device) | hooks) for device in others
    }
    return {first: network, **copies}


def is_elsewhere(predictor: TabPFN) -> bool:
    """Tell whether a fitted estimator needs more than the CPU as it is."""
    return predictor.devices_ != (CPU,)


def moved(predictor: TabPFN, devices: Sequence[torch.device]) -> TabPFN:
    """Return a fitted estimator on some devices; one that is there already stays as it is."""
    if predictor.devices_ != tuple(devices):
        predictor.to(as_tabpfn_takes_them(devices))
    return predictor


def copied_to_cpu(predictor: TabPFN) -> TabPFN:
    """Return a copy of a fitted estimator on the CPU, with one network, wherever it has copies."""
    networks = predictor.models_
    memo = {key: its for network in networks for key, its in _weights_on(network, CPU).items()}
    engine = getattr(predictor, "executor_", None)  # a constant target needs none
    held = [its for cache in getattr(engine, "model_caches", []) for its in cache._models.values()]
    memo |= {id(its): None for its in held if its not in networks}
    there = copy.deepcopy(predictor, memo)
    if engine is not None:
        there.executor_._set_models(there.models_)
    there.to("cpu")
    return there


def _weights_on(network: nn.Module, device: torch.device) -> dict[int, Any]:
    """Return what deepcopy takes instead of copies of a network's weights, by what it replaces.

    Weights go to the device directly: a card that holds them once may have no room for them twice.
    """
    memo: dict[int, Any] = {}
    for weight in network.parameters():
        there = weight.detach().to(device, copy=True)
        memo[id(weight)] = nn.Parameter(there, weight.requires_grad)
    return memo | {id(buffer): buffer.to(device, copy=True) for buffer in network.buffers()}

"""How a network of tabpfn is trained: which of its weights, and with which kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tabpfn.architectures.shared import scaled_dot_product_attention as _attention
from torch import nn
from torch.nn.attention import SDPBackend

LAST_BLOCKS = 2
BLOCK = re.compile(r"^(?:icl_)?blocks\.(\d+)\.")  # of the stack that sees all rows
HEAD = re.compile(r"^(?:output_projection|output_norm|many_class_decoder|heads)\.")
NORM = re.compile(r"norm\w*\.weight$|_ln\.weight$|\.bias$")


@contextmanager
def only_trained(model: nn.Module, tuning: str) -> Iterator[list[nn.Parameter]]:
    """Freeze, for a while, what a way of tuning does not train; gives what it does train.

    Parameters
    ----------
    model : torch.nn.Module
        A network of tabpfn.
    tuning : {"full", "head", "last_layers", "norm"}
        "head": what turns the last representation of a row into its prediction. "last_layers":
        the last two blocks and the head. "norm": scales of the normalisations and all biases.
    """
    trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    chosen = _chosen(list(trainable), tuning)
    frozen = [weight for name, weight in trainable.items() if name not in chosen]
    for weight in frozen:
        weight.requires_grad_(False)
    try:
        yield [weight for name, weight in trainable.items() if name in chosen]
    finally:
        for weight in frozen:
            weight.requires_grad_(True)


def _chosen(names: list[str], tuning: str) -> set[str]:
    """Return the names of the weights to train."""
    if tuning == "full":
        return set(names)
    if tuning == "norm":
        return {name for name in names if NORM.search(name)}
    chosen = {name for name in names if HEAD.match(name)}
    if tuning == "last_layers":
        blocks = {name: int(found[1]) for name in names if (found := BLOCK.match(name))}
        first = max(blocks.values()) + 1 - LAST_BLOCKS
        chosen |= {name for name, block in blocks.items() if block >= first}
    return chosen


@contextmanager
def attention_for_many_shapes(device: torch.device) -> Iterator[None]:
    """Do without cuDNN's attention for a while: it plans anew for every shape, which is slow."""
    backends = list(_attention._SDPA_BACKENDS)
    if device.type == "cuda":
        rest = [backend for backend in backends if backend != SDPBackend.CUDNN_ATTENTION]
        _attention._SDPA_BACKENDS = rest
    try:
        yield
    finally:
        _attention._SDPA_BACKENDS = backends

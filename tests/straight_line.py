"""A straight line to learn with nn.Linear: what trains without TabPFN is tried on it."""

import torch
from torch import nn

X = torch.linspace(-1, 1, 32)[:, None]
Y = 3 * X + 1


def squared_error(model, batch):
    x, y = batch
    return ((model(x) - y) ** 2).mean()


def score(model):
    with torch.no_grad():
        return -float(squared_error(model, (X, Y)))


def line():
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model

"""Random functions from the inputs of a table to scores: what a target may depend on.

Shape letters: B tables, R rows, P inputs, O outputs.
"""

from __future__ import annotations

import math

import torch

from finetune_tabpfn.pretraining._draws import Draws, among, standardise

MECHANISMS = {
    "linear": 0.18,
    "additive": 0.15,
    "interactions": 0.06,
    "trees": 0.3,
    "network": 0.13,
    "waves": 0.08,
    "prototypes": 0.1,
}


def function(
    draws: Draws, inputs: torch.Tensor, outputs: int, forests: float = 0.0
) -> torch.Tensor:
    """Apply a random function of a random kind, a share of them forests, shape (B, R, O)."""
    functions = {
        "forest": forest,
        "linear": linear,
        "additive": additive,
        "interactions": interactions,
        "trees": trees,
        "network": network,
        "waves": waves,
        "prototypes": prototypes,
    }
    kind = draws.pick(list(functions), among(list(MECHANISMS.values()), forests))
    scores = functions[kind](draws, inputs, outputs)
    if draws.chance(0.25):  # most relations have a linear part
        scores = standardise(scores) + draws.uniform(0.3, 1.5) * standardise(
            linear(draws, inputs, outputs)
        )
    return scores


def linear(draws: Draws, inputs: torch.Tensor, outputs: int) -> torch.Tensor:
    """Weigh and add."""
    return inputs @ draws.normal(inputs.shape[2], outputs)


def additive(draws: Draws, inputs: torch.Tensor, outputs: int) -> torch.Tensor:
    """Add a bent function of each input."""
    n_inputs, bends = inputs.shape[2], draws.integer(1, 3)
    total = torch.zeros((), device=draws.device)
    for _ in range(bends):
        bent = activate(draws, standardise(inputs) * 1.5 + draws.normal(1, n_inputs))
        weights = draws.normal(n_inputs, outputs) * scale(inputs)[..., None]
        total = total + standardise(bent) @ weights
    return total


def interactions(draws: Draws, inputs: torch.Tensor, outputs: int) -> torch.Tensor:
    """Add products of pairs of inputs."""
    n_inputs, n_pairs = inputs.shape[2], draws.integer(1, max(2, inputs.shape[2]))
    first, second = (select(inputs, draws.choice(n_inputs, (n_pairs,))) for _ in range(2))
    return (first * second) @ draws.normal(n_pairs, outputs)


def trees(draws: Draws, inputs: torch.Tensor, outputs: int) -> torch.Tensor:
    """Add oblivious trees: every level of a tree asks one question of all rows."""
    depth = draws.integer(1, 6)
    count = round(draws.log_uniform(1, 24))
    chosen = torch.multinomial(
        scale(inputs) + 1e-6, count * depth, replacement=True, generator=draws.generator
    )
    values = select(inputs, chosen)  # (B, R, count * depth)
    # the value of a random row as threshold: splits fall where the data are
    rows = draws.choice(inputs.shape[1], (1, count * depth))
    bits = (values > values.gather(1, rows)).view(*values.shape[:2], count, depth)
    powers = 2 ** torch.arange(depth, device=draws.device)
    leaves = (bits * powers).sum(-1) + 2**depth * torch.arange(count, device=draws.device)
    worth = draws.normal(count * 2**depth, outputs)
    flat = take(worth, leaves.flatten(1))
    return flat.view(*leaves.shape, outputs).sum(2)


def forest(draws: Draws, inputs: torch.Tensor, outputs: int) -> torch.Tensor:
    """Let a few deep trees vote, whose every node asks a question of its own.

    Unlike oblivious trees they cut the rows into regions of very different size, down to a few
    rows: the boundaries that TabForestPFN (arXiv 2405.13396) is pretrained on.
    """
    n_rows = inputs.shape[1]
    depth = min(draws.integer(4, 11), int(math.log2(n_rows)) + 1)
    count = round(draws.log_uniform(1, 12))
    total = torch.zeros((), device=draws.device)
    for _ in range(count):
        nodes = torch.zeros(inputs.shape[:2], dtype=torch.long, device=draws.device)
        for level in range(depth):
            n_nodes = 2**level
            chosen = torch.multinomial(
                scale(inputs) + 1e-6, n_nodes, replacement=True, generator=draws.generator
            )
            values = inputs.gather(2, chosen.gather(1, nodes)[..., None])[..., 0]
            # the value of a random row of the node as threshold, so that both sides get rows
            order = draws.random(n_rows).argsort(dim=1)
            place = order.argsort(dim=1)
            first = torch.full((draws.tables, n_nodes), n_rows - 1, device=draws.device)
            first = first.scatter_reduce(1, nodes, place, "amin")
            thresholds = values.gather(1, order.gather(1, first))
            nodes = 2 * nodes + (values > thresholds.gather(1, nodes))
        total = total + take(draws.normal(2**depth, outputs), nodes)
    return total


def network(draws: Draws, inputs: torch.Tensor, outputs: int) -> torch.Tensor:
    """Run a random multi-layer network."""
    signal = inputs
    for _ in range(draws.integer(1, 3)):
        width = round(draws.log_uniform(4, 48))
        signal = standardise(signal @ draws.normal(signal.shape[2], width))
        signal = activate(draws, draws.uniform(0.7, 2.5) * signal + draws.normal(1, width))
    return signal @ draws.normal(signal.shape[2], outputs)


def waves(draws: Draws, inputs: torch.Tensor, outputs: int) -> torch.Tensor:
    """Draw a smooth function: random Fourier features of a Gaussian process."""
    n_waves, n_inputs = 48, inputs.shape[2]
    frequencies = draws.normal(n_inputs, n_waves) * draws.table_log_uniform(0.3, 2.0)
    size = scale(inputs).square().sum(1).sqrt()[:, None, None].clamp(min=1e-6)
    phases = 2 * math.pi * draws.random(1, n_waves)
    return torch.cos(inputs / size @ frequencies + phases) @ draws.normal(n_waves, outputs)


def prototypes(draws: Draws, inputs: torch.Tensor, outputs: int) -> torch.Tensor:
    """Give each row the worth of the prototypes that it is near to."""
    count = draws.integer(max(2, outputs), 3 * outputs + 6)
    rows = draws.choice(inputs.shape[1], (count,))
    distance = torch.cdist(inputs, take(inputs, rows)).square()
    spread = distance.mean(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    nearness = torch.softmax(-distance / spread * draws.log_uniform(2, 40), dim=2)
    return nearness @ draws.normal(count, outputs)


def activate(draws: Draws, signal: torch.Tensor) -> torch.Tensor:
    """Bend every column (B, R, W) by an activation of its own."""
    ways = [
        lambda s: s,
        torch.tanh,
        torch.relu,
        torch.abs,
        lambda s: s.clamp(-3, 3).square(),
        lambda s: torch.sin(2 * s),
        lambda s: torch.sign(s),
        lambda s: torch.exp(-s.square()),
        lambda s: torch.nn.functional.leaky_relu(s, 0.2),
        lambda s: torch.nn.functional.softplus(2 * s),
        lambda s: (2 * s).round() / 2,
    ]
    order = torch.randperm(len(ways), generator=draws.generator, device=draws.device).tolist()
    n_ways = draws.integer(1, 4)
    parts = [ways[way] for way in order[:n_ways]]
    pieces = signal.tensor_split(n_ways, dim=2)
    return torch.cat([part(piece) for part, piece in zip(parts, pieces, strict=True)], dim=2)


def scale(inputs: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of each input over the rows, shape (B, P)."""
    return inputs.std(dim=1, unbiased=False)


def select(columns: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return columns (B, R, P) at the positions (B, S) of each table, shape (B, R, S)."""
    return columns.gather(2, chosen[:, None].expand(-1, columns.shape[1], -1))


def take(rows: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return rows (B, N, W) at the positions (B, S) of each table, shape (B, S, W)."""
    return rows.gather(1, chosen[..., None].expand(-1, -1, rows.shape[2]))

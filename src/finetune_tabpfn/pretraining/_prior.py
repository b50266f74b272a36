"""The prior: random tables by the million, from which a base model learns to read any table.

A batch holds tables of equal shape that share the kind of their mechanism and differ in its
parameters, so that everything is one tensor operation over all of them. docs/pretraining.md
describes what is drawn and why.

Shape letters: B tables, R rows, C columns, M nodes of a causal model, O outputs of a function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.pretraining import _functions
from finetune_tabpfn.pretraining._draws import (
    Draws,
    among,
    level_effects,
    quantile_codes,
    standardise,
)

MANY_CLASSES = 5
ROWS_PER_CLASS = 12  # at least, on average: fewer rows teach little but noise


@dataclass(frozen=True)
class Tables:
    """Tables of equal shape.

    Attributes
    ----------
    x : Tensor of shape (R, B, C)
        Cells; NaN where a value is missing.
    y : Tensor of shape (R, B)
        Class codes or real values, not yet standardised.
    """

    x: torch.Tensor
    y: torch.Tensor


class Prior(Protocol):
    """Anything that draws tables: write your own for your own domain."""

    def __call__(
        self, n_tables: int, n_rows: int, n_columns: int, generator: torch.Generator
    ) -> Tables:
        """Draw tables of one shape; all randomness comes from `generator`."""
        ...


@dataclass(frozen=True)
class CausalPrior:
    """Structural causal models with a target that depends on them in one of many ways.

    The shares, each from 0 to 1, are those of the batches of tables that are drawn together.

    Parameters
    ----------
    kind : {"classification", "regression"}
    max_classes : int
        Classes range from 2 to this many, in tables of enough rows.
    forests : float
        Share, among the mechanisms of the target, of forests with complex boundaries: a few deep
        trees that ask every node a question of its own, down to leaves of few rows.
    many_levels : float
        Share in which some columns are categories of up to 100 levels, each with an effect of
        its own, and most of them rare.
    heavy_tails, zero_inflated : float
        Shares, among the shapes of a real-valued target, of heavy tails, and of zeros in 20 to
        80 % of the rows.
    label_noise : float
        Share of classifications in which labels are flipped, up to 40 % of a table's.

    Raises
    ------
    ValueError
        When a share is out of range, or both of a real-valued target are more than 1 together.
    """

    kind: Kind
    max_classes: int = 30
    forests: float = 0.0
    many_levels: float = 0.0
    heavy_tails: float = 0.0
    zero_inflated: float = 0.0
    label_noise: float = 0.25

    def __post_init__(self) -> None:
        for name in ("forests", "many_levels", "heavy_tails", "zero_inflated", "label_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be from 0 to 1.")
        if self.heavy_tails + self.zero_inflated > 1:
            raise ValueError(
                f"heavy_tails={self.heavy_tails!r} and zero_inflated={self.zero_inflated!r} must "
                "not be more than 1 together."
            )

    def __call__(
        self, n_tables: int, n_rows: int, n_columns: int, generator: torch.Generator
    ) -> Tables:
        """Draw tables: causes, mechanism, target, and what the world lets one observe of them."""
        draws = Draws(n_tables, n_rows, generator)
        n_classes = _class_count(draws, self.max_classes) if self.kind == "classification" else 0
        clusters = _clusters(draws, max(n_classes, 2))
        nodes = _nodes(draws, n_columns, clusters)
        columns, hidden = _choose_columns(draws, nodes, n_columns)
        columns, levels = _discretise(draws, columns, self.many_levels)
        if n_classes:
            y = _classes(draws, columns, hidden, clusters, n_classes, self)
        else:
            y = _values(draws, columns, hidden, self)
        x = _observe(draws, columns, levels)
        return Tables(x.transpose(0, 1).contiguous(), y.transpose(0, 1).contiguous())


def _class_count(draws: Draws, most: int) -> int:
    """Draw the number of classes: two in four tables of ten, many where there are rows for them."""
    most = min(most, max(2, draws.rows // ROWS_PER_CLASS))
    low, high = draws.pick([(2, 2), (3, 5), (6, 10), (11, most)], [0.38, 0.22, 0.2, 0.2])
    return draws.integer(min(low, most), min(high, most))


@dataclass(frozen=True)
class _Clusters:
    """Groups of rows: `member` (B, R) names the group of a row."""

    member: torch.Tensor
    count: int
    spread: float


def _clusters(draws: Draws, n_classes: int) -> _Clusters | None:
    """Draw groups of rows, at least one per class, for four tables of ten.

    For more where there are many classes: these are mostly kinds of things, each with a look of
    its own, and not ranges of one quantity.
    """
    if not draws.chance(0.4 if n_classes <= MANY_CLASSES else 0.65):
        return None
    count = n_classes * draws.integer(1, 3)
    shares = draws.shares(count, 0.7 if draws.chance(0.3) else 5.0)
    return _Clusters(draws.labels(shares), count, draws.log_uniform(0.5, 5.0))


def _nodes(draws: Draws, n_columns: int, clusters: _Clusters | None) -> torch.Tensor:
    """Run a structural causal model and return all its nodes, shape (B, R, M)."""
    n_roots = n_columns if draws.chance(0.5) else draws.integer(2, max(2, n_columns))
    roots = _roots(draws, n_roots, clusters)
    layers = [roots]
    for _ in range(draws.integer(0 if n_roots >= n_columns else 1, 4)):
        width = draws.integer(max(2, n_columns // 2), n_columns + 2)
        parents = torch.cat(layers, dim=2) if draws.chance(0.3) else layers[-1]
        weights = draws.normal(parents.shape[2], width) * draws.mask(
            parents.shape[2], width, share=draws.uniform(0.2, 1.0)
        )
        signal = standardise(parents @ weights) + 0.3 * draws.normal(1, width)
        active = _functions.activate(draws, signal)
        noise = draws.table_log_uniform(0.01, 0.5) * draws.normal(draws.rows, width)
        layers.append(standardise(active) + noise)
    return torch.cat(layers, dim=2)


def _roots(draws: Draws, n_roots: int, clusters: _Clusters | None) -> torch.Tensor:
    """Draw the causes that have no causes, shape (B, R, n_roots)."""
    noise = draws.normal(draws.rows, n_roots)
    shape = draws.choice(4, (n_roots,), [0.5, 0.2, 0.15, 0.15])
    uniform = 3.46 * (torch.special.ndtr(noise) - 0.5)
    heavy = noise / draws.normal(draws.rows, n_roots).abs().add(0.3).sqrt()
    skewed = (0.8 * noise).exp() - 1
    roots = torch.stack([noise, uniform, heavy, skewed]).gather(
        0, shape[None, :, None].expand(1, *noise.shape)
    )[0]
    if draws.chance(0.4):
        mixing = draws.normal(n_roots, n_roots) / math.sqrt(n_roots)
        roots = roots + draws.table_log_uniform(0.3, 3.0) * (roots @ mixing)
    if clusters is not None:
        centres = draws.normal(clusters.count, n_roots) * draws.mask(1, n_roots, share=0.7)
        roots = roots + clusters.spread * _functions.take(centres, clusters.member)
    return standardise(roots)


def _choose_columns(
    draws: Draws, nodes: torch.Tensor, n_columns: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the observed columns (B, R, C) and as many nodes that may stay hidden."""
    n_nodes = nodes.shape[2]
    order = draws.random(n_nodes).argsort(dim=1)
    places = torch.arange(n_columns, device=draws.device) % n_nodes
    observed = order[:, places]
    if draws.chance(0.1):  # several copies of a few columns
        observed = draws.choice(min(n_columns, n_nodes), (n_columns,))
    hidden = order.flip(1)[:, places]
    return _functions.select(nodes, observed), _functions.select(nodes, hidden)


def _discretise(
    draws: Draws, columns: torch.Tensor, many: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn some columns into levels, many in a share of batches; returns them and marks (B, C)."""
    style = draws.pick(["many", "numeric", "mixed", "categorical"], among([0.3, 0.4, 0.3], many))
    share = {"numeric": 0.0, "categorical": 1.0}.get(style, draws.uniform(0.1, 0.8))
    chosen = draws.random(columns.shape[2]) < share
    if share == 0:
        return columns, chosen
    if style == "many":
        effects = level_effects(
            draws, columns, draws.integer(10, max(10, min(100, draws.rows // 4)))
        )
        return torch.where(chosen[:, None], standardise(effects), columns), chosen
    most = draws.pick([2, 4, 8, 20], [0.35, 0.3, 0.2, 0.15])
    codes = quantile_codes(draws, columns, most)
    return torch.where(chosen[:, None], standardise(codes), columns), chosen


def _relevant(draws: Draws, columns: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return what the target depends on, irrelevant inputs scaled to nothing, (B, R, C)."""
    inputs = columns
    if draws.chance(0.3):  # a part of the causes is not in the table
        inputs = torch.where(draws.random(1, columns.shape[2]) < 0.3, hidden, columns)
    n_inputs = inputs.shape[2]
    strength = draws.random(1, n_inputs).mul(1.5).exp()
    share = draws.uniform(0.3, 1.0) if n_inputs > 2 else 1.0
    relevance = strength * (draws.random(1, n_inputs) < share)
    relevance[..., 0] = strength[..., 0]  # at least one input counts
    return inputs * relevance


def _classes(
    draws: Draws,
    columns: torch.Tensor,
    hidden: torch.Tensor,
    clusters: _Clusters | None,
    n_classes: int,
    prior: CausalPrior,
) -> torch.Tensor:
    """Draw the class of every row, shape (B, R)."""
    if clusters is not None and draws.chance(0.75):
        y = clusters.member % n_classes
    else:
        one = n_classes == 2 or draws.chance(0.25)  # the classes are ranges of one quantity
        inputs = _relevant(draws, columns, hidden)
        scores = _functions.function(draws, inputs, 1 if one else n_classes, prior.forests)
        scores = standardise(scores) + _noise(draws, scores)
        y = _cut(draws, scores[..., 0], n_classes) if one else _win(draws, scores)
    if draws.chance(prior.label_noise):
        flipped = draws.random(draws.rows) < 0.4 * draws.random(1)
        y = torch.where(flipped, draws.choice(n_classes, (draws.rows,)), y)
    return y.float()


def _noise(draws: Draws, scores: torch.Tensor) -> torch.Tensor:
    """Draw noise for standardised scores: none, a little, or more than there is signal."""
    level = draws.pick(["none", "little", "much"], [0.2, 0.45, 0.35])
    if level == "none":
        return torch.zeros_like(scores)
    size = draws.table_log_uniform(*((0.03, 0.5) if level == "little" else (0.5, 3.0)))
    return size * draws.normal(draws.rows, scores.shape[2])


def _cut(draws: Draws, score: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Cut one score into classes of random shares."""
    shares = draws.shares(n_classes, draws.pick([1.0, 4.0, 50.0], [0.3, 0.4, 0.3]))
    ranks = score.argsort(dim=1).argsort(dim=1) / draws.rows
    return (ranks[..., None] > shares.cumsum(1)[:, None, :-1]).sum(-1)


def _win(draws: Draws, scores: torch.Tensor) -> torch.Tensor:
    """Let the highest score name the class, with a head start for some classes."""
    lead = draws.normal(1, scores.shape[2]) * draws.table_log_uniform(0.05, 1.0)
    return (scores + lead).argmax(dim=2)


def _values(
    draws: Draws, columns: torch.Tensor, hidden: torch.Tensor, prior: CausalPrior
) -> torch.Tensor:
    """Draw a real-valued target, shape (B, R)."""
    inputs = _relevant(draws, columns, hidden)
    signal = standardise(_functions.function(draws, inputs, 1, prior.forests))
    noise = _noise(draws, signal)
    if draws.chance(0.2):  # more noise where some column is large
        noise = noise * (0.7 * columns[..., :1].clamp(-3, 3)).exp()
    if draws.chance(0.15):  # now and then a wild row
        noise = noise * torch.where(draws.random(draws.rows, 1) < 0.03, 6.0, 1.0)
    y = standardise(signal + noise)[..., 0]
    style = draws.pick(
        ["heavy tails", "zeros", "as is", "skewed", "root", "ranks", "steps"],
        among([0.55, 0.22, 0.07, 0.08, 0.08], prior.heavy_tails, prior.zero_inflated),
    )
    if style == "heavy tails":
        y = _stretch(draws, y)
    elif style == "zeros":
        y = _mostly_zero(draws, y, inputs)
    elif style == "skewed":
        y = (draws.table_log_uniform(0.2, 1.2)[..., 0] * y.clamp(-6, 4)).exp()
    elif style == "root":
        y = y.sign() * y.abs().sqrt()
    elif style == "ranks":
        y = y.argsort(dim=1).argsort(dim=1) / draws.rows
    elif style == "steps":
        y = (y * draws.integer(1, 6)).round()
    return y * (-1.0 if draws.chance(0.5) else 1.0)


def _stretch(draws: Draws, y: torch.Tensor) -> torch.Tensor:
    """Give a standardised target (B, R) a heavy tail on one side, or on both."""
    if draws.chance(0.6):
        return (draws.table_log_uniform(0.7, 2.0)[..., 0] * y.clamp(-6, 4)).exp()
    return y.sign() * y.abs() ** draws.table_log_uniform(1.5, 3.0)[..., 0]


def _mostly_zero(draws: Draws, y: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Set 20 to 80 % of a target (B, R) to zero: the lowest, or those that something else says."""
    score = y
    if draws.chance(0.5):
        score = standardise(_functions.function(draws, inputs, 1))[..., 0]
        score = score + draws.table_log_uniform(0.03, 1.0)[..., 0] * draws.normal(draws.rows)
    amounts = y - y.amin(dim=1, keepdim=True)
    if draws.chance(0.5):  # sums of money: skewed
        amounts = (draws.table_log_uniform(0.3, 1.2)[..., 0] * y.clamp(-6, 4)).exp()
    ranks = score.argsort(dim=1).argsort(dim=1) / draws.rows
    return torch.where(ranks < 0.2 + 0.6 * draws.random(1), 0.0, amounts)


def _observe(draws: Draws, columns: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Return the cells as a table shows them: codes shuffled, values warped, some missing."""
    warped = _warp(draws, columns) if draws.chance(0.5) else columns
    nominal = levels & (draws.random(columns.shape[2]) < 0.6)
    # the order of a category's codes means nothing: any hash of the level will do
    shuffled = torch.sin(columns * (20 + 20 * draws.random(1, columns.shape[2])))
    x = torch.where(levels[:, None], torch.where(nominal[:, None], shuffled, columns), warped)
    if draws.chance(0.3):  # columns that have nothing to do with anything
        useless = draws.random(x.shape[2]) < 0.4 * draws.random(1)
        order = draws.random(draws.rows).argsort(dim=1)
        x = torch.where(useless[:, None], _functions.take(x, order), x)
    if draws.chance(0.05):
        wild = draws.random(draws.rows, x.shape[2]) < 0.01
        x = torch.where(wild & ~levels[:, None], 10 * x, x)
    if draws.chance(0.2):
        x = _lose(draws, x)
    return x


def _warp(draws: Draws, columns: torch.Tensor) -> torch.Tensor:
    """Warp columns, each in its own way, without changing the order of its values much."""
    a = draws.random(1, columns.shape[2]).mul(1.5).add(0.3)
    bounded = columns.clamp(-5, 5)
    ways = torch.stack(
        [
            columns,
            (a * bounded).exp(),
            columns.sign() * columns.abs() ** (2 * a),
            torch.special.ndtr(2 * a * columns),
            (columns - a + 0.5).clamp(min=0),  # mostly zero, as counts and pixels are
            (columns * 3 * a).round(),
        ]
    )
    way = draws.choice(6, (columns.shape[2],), [0.35, 0.2, 0.1, 0.1, 0.15, 0.1])
    return ways.gather(0, way[None, :, None].expand(1, *columns.shape))[0]


def _lose(draws: Draws, x: torch.Tensor) -> torch.Tensor:
    """Lose cells: at random, or where the value itself is large."""
    n_columns = x.shape[2]
    rate = draws.random(1, n_columns) ** 3 * (draws.random(1, n_columns) < draws.uniform(0.1, 1))
    chance = draws.random(draws.rows, n_columns)
    if draws.chance(0.3):
        ranks = x.argsort(dim=1).argsort(dim=1) / draws.rows
        chance = 0.5 * chance + 0.5 * (1 - ranks)
    return x.masked_fill(chance < 0.8 * rate, torch.nan)

"""The switches of the prior: each makes what it promises, and without them nothing changes."""

import hashlib

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from finetune_tabpfn.pretraining import CausalPrior
from finetune_tabpfn.pretraining._draws import Draws, among
from finetune_tabpfn.pretraining._functions import forest


def draw(prior, seed, n_tables=1, n_rows=400, n_columns=6):
    return prior(n_tables, n_rows, n_columns, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("kind", "states", "total"),
    [
        ("classification", "175df9b9344b29e4", 104.5545619726181),
        ("regression", "1a238a26b9021fb3", 72.46128463745117),
    ],
)
def test_the_default_draws_what_it_drew_before_there_were_switches(kind, states, total):
    drawn, found = hashlib.sha256(), 0.0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        tables = CausalPrior(kind)(3, 80, 1 + seed % 9, generator)
        # of the generator to the bit; of the numbers nearly, as their last bit is the processor's
        drawn.update(generator.get_state().numpy().tobytes())
        found += float(tables.x.nan_to_num().abs().mean() + tables.y.abs().mean())
    assert drawn.hexdigest()[:16] == states
    assert found == pytest.approx(total, rel=1e-4)


def test_shares_take_from_the_weights_of_the_others():
    assert among([0.5, 0.5], 0.0) == [0.0, 0.5, 0.5]
    assert among([0.5, 0.5], 0.2, 0.4) == pytest.approx([0.2, 0.4, 0.2, 0.2])


def test_a_forest_cuts_the_rows_into_many_regions_of_different_size():
    regions, smallest, largest = [], [], []
    for seed in range(20):
        draws = Draws(2, 300, torch.Generator().manual_seed(seed))
        inputs = draws.normal(300, 5)
        scores = forest(draws, inputs, 3)
        assert scores.shape == (2, 300, 3)
        counts = scores[0, :, 0].unique(return_counts=True)[1]
        regions.append(len(counts))
        smallest.append(int(counts.min()))
        largest.append(int(counts.max()))
    assert np.median(regions) > 40
    assert np.median(smallest) == 1
    assert np.median(largest) >= 4


def test_targets_of_forests_are_for_trees_rather_than_for_lines():
    gains = {}
    for share in (0.0, 1.0):
        found = []
        for seed in range(30):
            tables = draw(CausalPrior("regression", forests=share), seed, n_columns=3)
            x, y = tables.x[:, 0].nan_to_num().numpy(), tables.y[:, 0].numpy()
            tree, line = (m.fit(x, y) for m in (DecisionTreeRegressor(max_depth=6), Ridge()))
            found.append(tree.score(x, y) - line.score(x, y))
        gains[share] = np.median(found)
    assert gains[1.0] > gains[0.0] + 0.1


def test_categories_of_many_levels_have_some_that_are_rare():
    several = 0
    for seed in range(20):
        x = draw(CausalPrior("classification", many_levels=1.0), seed, n_columns=12).x[:, 0]
        counts = [c[~c.isnan()].unique(return_counts=True)[1] for c in x.T]
        levels = [c for c in counts if 10 <= len(c) <= 100 and c.min() <= 3]
        several += bool(levels)
    assert several >= 15


def test_heavy_tails():
    tails = {}
    for share in (0.0, 1.0):
        y = torch.cat(
            [draw(CausalPrior("regression", heavy_tails=share), s).y for s in range(40)], 1
        )
        standard = (y - y.mean(0)) / y.std(0)
        tails[share] = float((standard**4).mean(0).nanmedian())
    assert tails[1.0] > 3 * tails[0.0]


def test_zeros_are_a_fifth_to_four_fifths_of_the_rows():
    for seed in range(20):
        y = draw(CausalPrior("regression", zero_inflated=1.0), seed, n_tables=3).y
        zeros = (y == 0).float().mean(0)
        assert zeros.min() > 0.19
        assert zeros.max() < 0.82


def test_label_noise_flips_labels_and_nothing_else():
    flipped = []
    for seed in range(20):
        clean, noisy = (
            draw(CausalPrior("classification", 5, label_noise=share), seed).y
            for share in (0.0, 1.0)
        )
        flipped.append(float((clean != noisy).float().mean()))
    assert 0 < np.mean(flipped) < 0.25
    assert max(flipped) < 0.45


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forests": 1.5}, "forests=1.5 must be from 0 to 1"),
        ({"label_noise": -0.1}, "label_noise=-0.1 must be from 0 to 1"),
        ({"heavy_tails": 0.6, "zero_inflated": 0.6}, "must not be more than 1 together"),
    ],
)
def test_shares_out_of_range_get_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        CausalPrior("regression", **settings)

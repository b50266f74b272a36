"""The prior, the batches made of it, and whole pretraining runs of very small networks."""

import json
import math
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from tabpfn import TabPFNClassifier, TabPFNRegressor

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn._tasks import IGNORED
from finetune_tabpfn.models._base_models import mini
from finetune_tabpfn.pretraining import CausalPrior, PretrainConfig, Tables, pretrain
from finetune_tabpfn.pretraining.__main__ import load_prior, main
from finetune_tabpfn.pretraining._batches import Pass, PriorBatches, PriorTables, Shape, draw_shape
from finetune_tabpfn.pretraining._recipes import recipe
from finetune_tabpfn.training._callbacks import Callback

KINDS = ("classification", "regression")
TINY = {
    "embed_dim": 16,
    "dist_embed_num_blocks": 1,
    "dist_embed_num_inducing_points": 4,
    "feat_agg_num_blocks": 1,
    "nlayers": 1,
}


def config(kind="classification", **changes):
    small = {"steps": 6, "cells_per_pass": 600, "eval_interval": 2, "validation_passes": 2}
    return PretrainConfig(kind=kind, max_columns=6, **{"sizes": TINY, **small, **changes})


def draw(prior, seed, n_tables=4, n_rows=100, n_columns=6):
    return prior(n_tables, n_rows, n_columns, torch.Generator().manual_seed(seed))


def tables(kind="classification", prior=None, seed=0, **changes):
    return PriorTables(
        prior or CausalPrior(kind), kind, n_codes=32, max_columns=8, seed=seed, **changes
    )


def batches(kind="classification", prior=None, seed=0, workers=0):
    return PriorBatches(
        tables(kind, prior, seed),
        lambda step: PretrainConfig().stage(step / 100),
        cells_per_pass=2000,
        device=torch.device("cpu"),
        workers=workers,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_tables_have_the_shape_asked_for_and_numbers_in_them(kind):
    for seed in range(60):
        n_columns = 1 + seed % 12
        tables = draw(CausalPrior(kind), seed, n_columns=n_columns)
        assert tables.x.shape == (100, 4, n_columns)
        assert tables.y.shape == (100, 4)
        assert not tables.x.isinf().any()
        assert tables.y.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_everything_and_global_random_state_is_left_alone(kind):
    before = torch.random.get_rng_state()
    first, again, other = (draw(CausalPrior(kind), seed) for seed in (1, 1, 2))
    assert torch.equal(first.x.nan_to_num(), again.x.nan_to_num())
    assert torch.equal(first.y, again.y)
    assert not torch.equal(first.x.nan_to_num(), other.x.nan_to_num())
    assert torch.equal(before, torch.random.get_rng_state())


def test_classes_range_from_two_to_the_most_and_are_often_unbalanced():
    prior = CausalPrior("classification", max_classes=25)
    tables = [draw(prior, seed, n_tables=1, n_rows=500).y[:, 0] for seed in range(200)]
    counts = [len(y.unique()) for y in tables]
    assert max(y.max() for y in tables) < 25
    assert min(counts) <= 2
    assert max(counts) >= 20
    largest = np.array([float(y.unique(return_counts=True)[1].max()) / 500 for y in tables])
    binary = np.array(counts) == 2
    assert (largest[binary] > 0.7).mean() > 0.1


def test_missing_cells_categories_and_skew_all_occur():
    tables = [draw(CausalPrior("regression"), seed, n_tables=1) for seed in range(120)]
    assert 0.1 < np.mean([bool(t.x.isnan().any()) for t in tables]) < 0.4
    few = [any(len(c[~c.isnan()].unique()) <= 8 for c in t.x[:, 0].T) for t in tables]
    assert np.mean(few) > 0.3
    y = torch.stack([t.y[:, 0] for t in tables])
    skew = (((y - y.mean(1, True)) / y.std(1, keepdim=True)) ** 3).mean(1).abs()
    assert (skew > 1).float().mean() > 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_most_targets_can_be_learned_from_the_columns(kind):
    gains = []
    for seed in range(24):
        tables = draw(CausalPrior(kind, 5), seed, n_tables=1, n_rows=300)
        x, y = tables.x[:, 0].nan_to_num().numpy(), tables.y[:, 0].numpy()
        forest = RandomForestClassifier if kind == "classification" else RandomForestRegressor
        model = forest(30, random_state=0).fit(x[:200], y[:200])
        common = np.bincount(y[:200].astype(int)).argmax() if kind == "classification" else None
        chance = 0 if common is None else np.mean(y[200:] == common)
        gains.append(model.score(x[200:], y[200:]) - chance)
    assert np.median(gains) > 0.1


def test_contexts_have_dense_codes_in_half_of_the_tables_and_queries_ask_only_for_those():
    dense, answered = [], []
    for step in range(60):
        for _, batch in batches()(step):
            for context, query in zip(batch.targets.context.T, batch.targets.query.T, strict=True):
                codes = context.unique()
                assert codes.min() >= 0
                assert set(query.tolist()) <= {*codes.tolist(), float(IGNORED)}
                dense.append(bool(codes.max() + 1 == len(codes)))
                answered.append(float((query != IGNORED).float().mean()))
    assert 0.4 < np.mean(dense) < 0.65
    assert np.mean(answered) > 0.95


def test_regression_targets_are_standardised_by_their_context():
    for _, batch in batches("regression")(3):
        torch.testing.assert_close(
            batch.targets.context.mean(0),
            torch.zeros(batch.targets.context.shape[1]),
            atol=1e-3,
            rtol=0,
        )
        assert batch.targets.query.isfinite().all()


def test_a_step_sees_the_same_tables_whenever_it_is_asked():
    source = batches(seed=5)
    for (_, first), (_, again) in zip(source(7), batches(seed=5)(7), strict=True):
        assert torch.equal(first.x.nan_to_num(), again.x.nan_to_num())
        assert torch.equal(first.targets.context, again.targets.context)
    shares = [share for share, _ in source(99)]
    assert sum(shares) == pytest.approx(1)
    stage = PretrainConfig().stage
    assert stage(0.0).max_rows < stage(1.0).max_rows


def test_the_learning_rate_rises_stays_and_falls():
    settings = PretrainConfig(steps=1000)
    rates = [settings.learning_rate_share(step / 1000) for step in range(1000)]
    assert rates[0] < 0.05
    assert rates[40:400] == [1.0] * 360
    assert np.all(np.diff(rates[400:]) < 0)
    assert rates[-1] == pytest.approx(settings.final_share, abs=1e-3)


def test_a_continued_run_begins_with_larger_tables_and_a_lower_learning_rate():
    anew, later = PretrainConfig(steps=1000), PretrainConfig(steps=1000, begin=0.7)
    assert later.progress(0) == 0.7
    assert later.progress(1) == anew.progress(1) == 1.0
    assert later.learning_rate_share(0.5) == pytest.approx(anew.learning_rate_share(0.85))
    assert later.stage(0).max_rows > anew.stage(0).max_rows


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_plain_tabpfn_loads_and_fine_tuning_takes(kind, tmp_path):
    path = pretrain(tmp_path / "tiny-v3.safetensors", config(kind))
    classes = kind == "classification"
    X, y = (load_iris if classes else load_diabetes)(return_X_y=True)
    plain = (TabPFNClassifier if classes else TabPFNRegressor)(
        model_path=path, n_estimators=2, device="cpu"
    ).fit(X[::2], y[::2])
    predicted = plain.predict_proba(X[1::2]) if classes else plain.predict(X[1::2])
    assert np.isfinite(predicted).all()
    assert len(predicted) == len(X[1::2])
    if classes:
        tuned = FinetunedTabPFNClassifier(
            base_model=path, max_steps=2, n_estimators=1, device="cpu"
        )
        assert tuned.fit(X, y).base_model_.licence == "Apache-2.0"
    rows = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 2, 4, 6]
    assert all(math.isfinite(row["score"]) for row in rows)


@pytest.mark.slow
def test_pretraining_learns(tmp_path):
    path = tmp_path / "tiny-v3.safetensors"
    settings = config("regression", steps=40, eval_interval=40, ema_decay=0.8)
    pretrain(path, settings, prior=straight_lines)
    rows = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert rows[-1]["score"] > rows[0]["score"] + 0.1


class StopsAt(Callback):
    def __init__(self, step):
        self.step = step

    def before_step(self, state):
        return "enough" if state.step == self.step else None


@pytest.mark.slow
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    whole, parts = tmp_path / "whole-v3.safetensors", tmp_path / "parts-v3.safetensors"
    pretrain(whole, config())
    pretrain(parts, config(), callbacks=[StopsAt(3)])  # what came after step 2 is lost
    pretrain(parts, config(), resume=True)
    states = [
        torch.load(path.with_suffix(".state.pt"), weights_only=True)["state"]
        for path in (whole, parts)
    ]
    for name, weights in states[0]["model"].items():
        assert torch.equal(weights, states[1]["model"][name]), name
    assert states[0]["set_aside"]
    for one, other in zip(states[0]["set_aside"], states[1]["set_aside"], strict=True):
        assert torch.equal(one, other)
    assert states[0]["step"] == states[1]["step"] == 6


def test_a_state_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "tiny-v3.safetensors"
    pretrain(path, config(steps=2))
    with pytest.raises(ValueError, match="was written with seed=0, not 1"):
        pretrain(path, config(steps=2, seed=1), resume=True)


def test_an_earlier_run_is_not_lost_by_beginning_again(tmp_path):
    path = tmp_path / "tiny-v3.safetensors"
    pretrain(path, config(steps=2))
    before = path.with_suffix(".state.pt").read_bytes()
    with pytest.raises(ValueError, match=r"tiny-v3.state.pt holds an earlier run; resume it"):
        pretrain(path, config(steps=2))
    assert path.with_suffix(".state.pt").read_bytes() == before


def test_a_run_that_ends_early_says_so(tmp_path, caplog):
    pretrain(tmp_path / "tiny-v3.safetensors", config(), callbacks=[StopsAt(3)])
    assert "pretraining ended at step 3: enough" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architecture": "tabpfn_v9"},
            "architecture='tabpfn_v9' is none of tabpfn's: .*tabpfn_v3",
        ),
        ({"sizes": {"n_layers": 3}}, "'n_layers'"),
        ({"sizes": {"embed_dim": "wide"}}, "sizes=.* does not fit tabpfn_v3"),
    ],
)
def test_a_network_that_cannot_be_built_gets_one_sentence(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        pretrain(tmp_path / "tiny-v3.safetensors", config(**{"sizes": TINY, **changes}))
    assert "\n" not in str(caught.value)


def test_a_regressor_can_begin_with_the_trunk_of_a_classifier(tmp_path):
    trunk = pretrain(tmp_path / "trunk-v3.safetensors", config(steps=2))
    begun = pretrain(
        tmp_path / "begun-v3.safetensors",
        config("regression", steps=1, muon_lr=0.0, adamw_lr=0.0),
        start=trunk,
    )
    state = torch.load(begun.with_suffix(".state.pt"), weights_only=True)["state"]["model"]
    name = "icl_blocks.0.mlp.0.weight"
    assert state[name].equal(load_file(trunk)[name].float())


def test_a_classifier_can_begin_with_a_regressor_and_what_it_does_with_its_target(tmp_path):
    regressor = pretrain(tmp_path / "one-v3.safetensors", config("regression", steps=2))
    begun = pretrain(
        tmp_path / "two-v3.safetensors",
        config(steps=1, muon_lr=0.0, adamw_lr=0.0),
        start=regressor,
    )
    first = torch.load(regressor.with_suffix(".state.pt"), weights_only=True)["state"]["model"]
    second = torch.load(begun.with_suffix(".state.pt"), weights_only=True)["state"]["model"]
    line = first["icl_y_encoder.weight"][:, 0]
    classes = second["icl_y_encoder.embedding.weight"]
    along = (classes - first["icl_y_encoder.bias"]) @ line / line.norm() ** 2
    torch.testing.assert_close(along[:2], torch.tensor([-1.0, 1.0]), atol=0.3, rtol=0)
    assert torch.linalg.matrix_rank(classes) > 2


def straight_lines(n_tables, n_rows, n_columns, generator):
    """A prior of somebody's own domain."""
    x = torch.randn(n_rows, n_tables, n_columns, generator=generator)
    return Tables(x, x.sum(2))


def test_a_prior_of_ones_own(tmp_path):
    path = pretrain(tmp_path / "lines-v3.safetensors", config("regression"), prior=straight_lines)
    assert path.is_file()
    assert load_prior("finetune_tabpfn.pretraining:CausalPrior") is CausalPrior
    with pytest.raises(ValueError, match="must be module:name"):
        load_prior("nonsense")
    with pytest.raises(ValueError, match="cannot be imported"):
        load_prior("no_such_module:prior")


def same_weights(one, other):
    first, second = (
        torch.load(path.with_suffix(".state.pt"), weights_only=True)["state"]
        for path in (one, other)
    )
    assert first["step"] == second["step"]
    return all(first["model"][name].equal(second["model"][name]) for name in first["model"])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there are fewer cores
@pytest.mark.slow
def test_the_weights_are_the_same_for_any_number_of_workers(everything, tmp_path):
    alone, *others = (
        pretrain(tmp_path / f"{workers}-v3.safetensors", config(steps=3), workers=workers)
        for workers in ((0, 1, 2) if everything else (0, 2))
    )
    assert all(same_weights(alone, other) for other in others)


@pytest.mark.slow
def test_workers_go_back_when_a_step_is_asked_for_again_with_less_memory():
    source, alone = batches(workers=1), batches()
    try:
        list(source(0))
        next(iter(source(1)))  # the second pass runs out of memory
        assert source.shrink() == alone.shrink() == "a pass now holds 1000 cells"
        for (_, one), (_, other) in zip(source(1), alone(1), strict=True):
            assert one.x.nan_to_num().equal(other.x.nan_to_num())
        assert source.waited > 0
    finally:
        source.close()


def test_a_pass_sees_several_worlds():
    asked = []

    def prior(n_tables, n_rows, n_columns, generator):
        asked.append(n_tables)
        return straight_lines(n_tables, n_rows, n_columns, generator)

    which = Pass(step=3, number=1, passes=4, max_rows=64, cells=14 * 64 * 7)
    drawn = tables("regression", prior, tables_per_world=5)[which]
    shape = draw_shape(np.random.default_rng((0, 3, 1)), which, 8)
    n_tables = drawn.x.shape[1]
    assert sum(asked) == n_tables > 5
    assert set(asked[:-1]) == {5}
    assert isinstance(shape, Shape)
    assert drawn.context.shape[0] + drawn.query.shape[0] == drawn.x.shape[0]


def test_what_a_pass_costs_is_known_before_it_is_drawn():
    which = Pass(step=3, number=1, passes=4, max_rows=300, cells=5000)
    source = tables()
    rows, n_tables, columns = source[which].x.shape
    assert source.cost(which) == rows * n_tables * (columns + 6)


class Seconds:
    """A clock that goes on when a prior is asked for tables."""

    def __init__(self, per_draw):
        self.now, self.per_draw = 0.0, per_draw

    def __call__(self):
        return self.now

    def prior(self, n_tables, n_rows, n_columns, generator):
        self.now += self.per_draw
        return straight_lines(n_tables, n_rows, n_columns, generator)


def timed(path, clock, **changes):
    settings = config("regression", eval_interval=1000, validation_passes=1, **changes)
    return pretrain(path, settings, prior=clock.prior, clock=clock)


def curve(path):
    return [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_over_seconds_ends_within_them_and_validates_in_between(tmp_path):
    clock = Seconds(per_draw=0.5)
    path = timed(tmp_path / "tiny-v3.safetensors", clock, seconds=60, eval_seconds=15)
    rows = curve(path)
    assert 30 < clock.now <= 60
    times = [row["seconds"] for row in rows]
    assert max(np.diff(times)) <= 15
    assert len(rows) >= 4
    rates = [row["learning_rate"] for row in rows]
    assert rates[-1] < 0.5 * max(rates)  # the schedule is laid over the seconds


@pytest.mark.slow
def test_a_run_over_seconds_goes_on_with_those_that_are_left(tmp_path):
    path = tmp_path / "tiny-v3.safetensors"
    timed(path, Seconds(per_draw=0.5), seconds=30)
    steps = curve(path)[-1]["step"]
    clock = Seconds(per_draw=0.5)
    pretrain(
        path,
        config("regression", eval_interval=1000, validation_passes=1, seconds=60),
        prior=clock.prior,
        resume=True,
        clock=clock,
    )
    assert curve(path)[-1]["step"] > steps
    assert clock.now <= 60 - 20  # of the first run's seconds


def test_too_few_seconds_get_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"seconds=0\.5 were over before a first validation\.$"):
        timed(tmp_path / "tiny-v3.safetensors", Seconds(per_draw=0.5), seconds=0.5)


def test_a_line_says_how_fast_it_goes_and_what_is_left(tmp_path, caplog):
    with caplog.at_level("INFO", logger="finetune_tabpfn"):
        pretrain(tmp_path / "tiny-v3.safetensors", config(steps=2))
    line = caplog.text
    for words in ("million cells per second", "waiting for tables", "validation loss", "s left"):
        assert words in line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini-classifier", "mini-regressor"])
def test_a_recipe_begins_with_the_shipped_file(name, tmp_path):
    out = tmp_path / "more-v3.safetensors"
    few = ["--validation-passes", "1", "--cells-per-pass", "600", "--max-columns", "6"]
    still = ["--muon-lr", "0", "--adamw-lr", "0", "--stages", "{1: [64, 1]}"]
    options = ["--recipe", name, "--seconds", "4", "--device", "cpu", *few, *still]
    begun = time.monotonic()
    assert main(["--out", str(out), *options]) == 0
    assert time.monotonic() - begun < 8
    kind = "classification" if "classifier" in name else "regression"
    shipped, written = (load_file(path) for path in (mini(kind).path, out))
    assert list(shipped) == list(written)
    for weight in shipped:
        torch.testing.assert_close(written[weight], shipped[weight], atol=2e-4, rtol=2e-3)
    assert mini(kind).sha256 in str(safe_open(out, "pt").metadata()["finetune_tabpfn"])


def test_a_recipe_suits_the_device():
    gpu, cpu = (recipe("mini-regressor", torch.device(name)) for name in ("cuda", "cpu"))
    for settings in (gpu, cpu):
        assert settings["start"] == mini("regression").path
        taken = {name: settings[name] for name in settings if name not in ("start", "workers")}
        assert PretrainConfig(**taken).kind == "regression"
    assert gpu["precision"] == "bf16"
    assert gpu["cells_per_pass"] > 50 * PretrainConfig().cells_per_pass
    assert cpu["workers"] == 0


def test_a_recipe_that_is_none_gets_one_sentence(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "x-v3.safetensors"), "--recipe", "maxi"]) == 1
    error = "recipe='maxi' must be 'mini-classifier' or 'mini-regressor'."
    assert error in capsys.readouterr().err


@pytest.mark.parametrize("workers", [-1, 1.5, True])
def test_a_number_of_workers_that_is_none_gets_one_sentence(workers, tmp_path):
    with pytest.raises(ValueError, match=f"workers={workers} must be a whole number, 0 or more"):
        pretrain(tmp_path / "tiny-v3.safetensors", config(), workers=workers)


def test_the_command(tmp_path, capsys):
    out = tmp_path / "tiny-v3.safetensors"
    options = ["--steps", "1", "--eval-interval", "1", "--validation-passes", "1"]
    small = ["--cells-per-pass", "500", "--max-columns", "4", "--sizes", json.dumps(TINY)]
    assert main(["--out", str(out), *options, *small]) == 0
    assert out.is_file()
    assert main(["--out", str(out), "--kind", "clustering"]) == 1
    assert "kind='clustering' must be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", "many"),
        ("max_columns", 1),
        ("seed", -1),
        ("muon_lr", -0.1),
        ("begin", 1.0),
        ("ema_decay", 1.0),
        ("precision", "fp8"),
        ("seconds", 0),
        ("seconds", "long"),
        ("eval_seconds", None),
        ("tables_per_world", 0),
    ],
)
def test_settings_out_of_range_get_one_sentence(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r} must be"):
        PretrainConfig(**{name: value})


@pytest.mark.parametrize(
    "stages",
    [{}, {0.5: [100, 2]}, {0.6: [100, 2], 0.4: [200, 2], 1: [300, 2]}, {1: [10, 2]}, {1: 64}, 3],
)
def test_stages_that_are_none_get_one_sentence(stages):
    with pytest.raises(ValueError, match=r"stages=.* must map rising shares of the run"):
        PretrainConfig(stages=stages)

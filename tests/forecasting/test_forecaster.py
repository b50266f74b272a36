"""The forecaster: what it forecasts, from what, and what it refuses."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from finetune_tabpfn import FinetunedTabPFNForecaster, LoRA
from finetune_tabpfn.forecasting import SeasonalNaive, backtest, new_forecaster

QUICK = {"base_model": "mini", "max_steps": 2, "n_estimators": 1, "random_state": 0}


def forecaster(**parameters):
    return FinetunedTabPFNForecaster(**{**QUICK, **parameters})


def monthly(n=108, growth=0.01, seed=0, name="a"):
    """Give a series that grows, and whose swings grow with it."""
    month = np.arange(n)
    rng = np.random.default_rng(seed)
    y = np.exp(growth * month + 0.2 * np.sin(2 * np.pi * month / 12) + 0.02 * rng.normal(size=n))
    stamps = pd.date_range("2015-01-01", periods=n, freq="MS")
    return pd.DataFrame({"month": stamps, "name": name, "y": 100 * y})


@pytest.fixture(scope="module")
def table():
    return monthly()


@pytest.fixture(scope="module")
def fitted(table):
    return forecaster().fit(table.iloc[:-12], "y", horizon=12)


def test_a_series_that_grows_is_followed_beyond_its_range(fitted, table):
    """TabPFN alone predicts nothing above what it has seen."""
    assert fitted.transform_.log
    assert fitted.transform_.level == "mean_12"
    found = fitted.predict()
    came = table["y"].iloc[-12:].to_numpy()
    assert found["month"].tolist() == table["month"].iloc[-12:].tolist()
    assert found["forecast"].max() > table["y"].iloc[:-12].max()
    assert np.abs(found["forecast"] / came - 1).mean() < 0.06


def test_quantiles_are_in_order_and_the_forecast_is_the_median(fitted):
    found = fitted.predict(6, quantiles=[0.05, 0.5, 0.95])
    assert found.columns.tolist() == ["month", "forecast", "0.05", "0.5", "0.95"]
    assert len(found) == 6
    assert (found["0.05"] < found["0.5"]).all()
    assert (found["0.5"] < found["0.95"]).all()
    np.testing.assert_array_equal(found["forecast"], found["0.5"])


def test_a_series_without_a_trend_is_left_as_it_is():
    stays = monthly(growth=0)
    stays["y"] -= stays["y"].mean()
    fitted = forecaster(max_steps=0).fit(stays, "y", 6)
    assert not fitted.transform_.log
    assert fitted.transform_.level is None


@pytest.mark.slow
def test_the_last_horizons_are_held_out_and_what_is_chosen_does_not_see_them(table):
    broken = table.copy()
    broken.loc[broken.index[-24:], "y"] = 1e6 * np.resize([1.0, 2.0], 24)
    one, other = (
        forecaster(max_steps=0, n_validation_windows=2).fit(each, "y", 12)
        for each in (table, broken)
    )
    assert one.transform_.log == other.transform_.log
    assert one.transform_.level == other.transform_.level
    np.testing.assert_array_equal(one.transform_.center, other.transform_.center)
    assert one.features_.seasons_ == other.features_.seasons_
    assert one.regressor_.validation.test_size == 24


def test_rows_of_ones_own_are_validated_on(table):
    train, later = table.iloc[:-20], table.iloc[-20:]
    model = forecaster(max_steps=0).fit(train, "y", 12, df_val=later)
    assert model.regressor_.validation.test_size == 20
    assert model.predict()["month"].iloc[0] == pd.Timestamp("2024-01-01")
    broken = later.assign(y=1e6 * np.resize([1.0, 2.0], 20))
    other = forecaster(max_steps=0).fit(train, "y", 12, df_val=broken)
    assert other.transform_.log == model.transform_.log
    np.testing.assert_array_equal(other.transform_.center, model.transform_.center)
    for rows, parameters, sentence in (
        (table.iloc[-21:], {}, "df_val must come after all of df"),
        (later.drop(columns="name"), {}, "df_val lacks the column 'name'"),
        (later, {"n_validation_windows": 1}, "but df_val is given"),
        (later, {"context_length": 20}, "context_length=20 holds no 8 stamps before the 20"),
    ):
        with pytest.raises(ValueError, match=sentence):
            forecaster(max_steps=0, **parameters).fit(train, "y", 12, df_val=rows)
    with pytest.raises(ValueError, match=r"horizon=81 is longer than 88 .* 80 would do"):
        forecaster(max_steps=0).fit(train, "y", 81, df_val=later)


def test_forecasts_do_not_know_what_comes(table, fitted):
    """Rows after the last target, and their values, are not there for the forecaster."""
    again = clone(fitted).fit(table.iloc[:-12], "y", horizon=12)
    pd.testing.assert_frame_equal(again.predict(), fitted.predict())


@pytest.mark.slow
def test_the_order_of_the_rows_means_nothing_and_missing_targets_are_gaps(table):
    past = table.iloc[:-12].drop(index=[30, 31])
    gaps = table.iloc[:-12].copy()
    gaps.loc[[30, 31], "y"] = np.nan
    one, other = (
        forecaster().fit(each, "y", 6).predict()
        for each in (past.sample(frac=1, random_state=0), gaps)
    )
    pd.testing.assert_frame_equal(one, other)


@pytest.fixture(scope="module")
def panel():
    return pd.concat([monthly(), monthly(80, seed=1, name="b").assign(y=lambda t: 1e4 * t["y"])])


@pytest.mark.slow
def test_each_series_is_forecast_from_its_own_end_in_its_own_unit(panel):
    found = forecaster(id_column="name").fit(panel, "y", 6).predict()
    assert found.columns.tolist()[:2] == ["name", "month"]
    for name, series in panel.groupby("name"):
        own = found[found["name"] == name]
        last = series["month"].max()
        assert own["month"].tolist() == [last + pd.DateOffset(months=k) for k in range(1, 7)]
        assert 0.5 < own["forecast"].mean() / series["y"].iloc[-12:].mean() < 2


def test_the_unit_of_the_target_does_not_matter(table, fitted):
    scaled = table.iloc[:-12].assign(y=lambda t: 1e6 * t["y"])
    found = forecaster().fit(scaled, "y", 12).predict()
    np.testing.assert_allclose(found["forecast"], 1e6 * fitted.predict()["forecast"], rtol=1e-3)


def test_covariates_that_are_known_ahead_are_used():
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=150)
    table = pd.DataFrame({"day": days, "promo": rng.random(150) < 0.3})
    table["y"] = 10 + 5 * table["promo"] + 0.1 * rng.normal(size=150)
    model = forecaster(covariates=["promo"], max_steps=0).fit(table.iloc[:-10], "y", 10)
    future = table.iloc[-10:].drop(columns="y")
    found = model.predict(future=future)
    assert np.abs(found["forecast"].to_numpy() - table["y"].iloc[-10:]).mean() < 1
    with pytest.raises(ValueError, match=r"future=None: the covariates \['promo'\] must be known"):
        model.predict()
    with pytest.raises(ValueError, match="future has no row for 2024-05-29"):
        model.predict(future=future.iloc[:-1])
    with pytest.raises(ValueError, match="future lacks the covariate 'promo'"):
        model.predict(future=future[["day"]])
    known = model.predict(8, future=future.iloc[:-2])
    assert known["forecast"].tolist() == pytest.approx(found["forecast"].tolist()[:8], rel=1e-3)
    with pytest.raises(ValueError, match="future lacks the covariate 'promo' for 2024-05-28"):
        model.predict(future=future.assign(promo=future["promo"].where(future.index < 148)))


def test_covariates_that_are_known_in_the_past_alone_are_used_as_they_were():
    """Tomorrow's sales follow today's visits, which nobody knows a day ahead."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=110)
    table = pd.DataFrame({"day": days, "visits": rng.normal(size=110)})
    table["y"] = 10 + 3 * table["visits"].shift(1, fill_value=0) + 0.1 * rng.normal(size=110)
    errors = {}
    for name, own in (("with", ["visits"]), ("without", None)):
        model = forecaster(past_covariates=own, max_steps=0)
        found = backtest(model, table, "y", 1, n_windows=4, refit=False)
        errors[name] = found.metrics["mae"]
    assert errors["with"] < 0.5 * errors["without"]
    changed = table.assign(visits=table["visits"].mask(table.index >= 100, 1e6))
    one, other = (
        backtest(forecaster(past_covariates=["visits"], max_steps=0), each, "y", 3, n_windows=1)
        for each in (table.iloc[:103], changed.iloc[:103])
    )
    pd.testing.assert_frame_equal(one.forecasts, other.forecasts)
    model = forecaster(past_covariates=["visits"], max_steps=0).fit(table, "y", 3)
    assert len(model.predict()) == 3  # needs no future


def test_days_in_local_time_are_forecast_over_a_change_of_clocks():
    days = pd.date_range("2024-01-01", "2024-03-29", freq="D", tz="Europe/Berlin")
    table = pd.DataFrame({"y": np.sin(np.arange(len(days)) * 2 * np.pi / 7)}, index=days)
    found = forecaster(max_steps=0).fit(table, "y", 4).predict()
    expected = pd.date_range("2024-03-30", periods=4, freq="D", tz="Europe/Berlin")
    assert found.index.tolist() == expected.tolist()
    assert found.columns.tolist() == ["forecast", "0.1", "0.5", "0.9"]


def test_a_longer_history_is_taken_without_training_again(fitted, table):
    moved = joblib.load(_dumped(fitted))
    before = [weight.clone() for weight in moved.regressor_.predictor_.models_[0].parameters()]
    found = moved.update(table).predict(3)
    assert found["month"].iloc[0] == table["month"].iloc[-1] + pd.DateOffset(months=1)
    after = moved.regressor_.predictor_.models_[0].parameters()
    assert all((one == other).all() for one, other in zip(before, after, strict=True))


def test_a_history_that_has_grown_long_is_described_as_a_short_one_was():
    """A year of days has a cycle more than half of one, and the network was not trained with it."""
    days = pd.date_range("2023-01-01", periods=420)
    table = pd.DataFrame({"day": days, "y": np.sin(np.arange(420) * 2 * np.pi / 7)})
    model = forecaster(max_steps=0).fit(table.iloc[:200], "y", 3)
    names = model.regressor_.feature_names_in_.tolist()
    assert len(model.update(table).predict()) == 3
    assert list(model._context(420)[0].X) == names


def test_the_hold_out_is_the_last_horizons_also_where_targets_are_missing(table):
    gaps = table.copy()
    gaps.loc[gaps.index[-10:-7], "y"] = np.nan
    model = forecaster(max_steps=0, n_validation_windows=1).fit(gaps, "y", 12)
    assert model.regressor_.validation.test_size == 9


def _dumped(model):
    import io

    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return file


def test_contexts_of_the_training_lie_before_their_queries(table):
    from finetune_tabpfn.data._sampling import SplitSampler

    drawn = []

    class Noted(SplitSampler):
        pass

    model = forecaster().fit(table, "y", 6)
    time = model.regressor_.validation.order(model._context(108)[0].X)
    sampler = SplitSampler(len(time.moments), 40, 20, seed=0, time=time)
    for step in range(5):
        drawn.append(sampler.draw(step, 0))
    assert all(
        time.moments[split.context].max() < time.moments[split.query].min() for split in drawn
    )


def test_names_of_other_libraries_are_read():
    model = new_forecaster(
        {"h": 6, "timestamp_column": "month", "tuning": "lora", "lora_r": 4, "fine_tune_lr": 1e-4}
    )
    assert model.prediction_length == 6
    assert model.time_column == "month"
    assert model.tuning.rank == 4
    assert model.learning_rate == 1e-4
    with pytest.raises(ValueError, match="horizon=3 and prediction_length=6 say the same"):
        new_forecaster({"prediction_length": 6, "horizon": 3})


def test_settings_have_the_names_that_forecasters_use(table):
    model = new_forecaster(
        {
            **QUICK,
            "prediction_length": 6,
            "context_length": 60,
            "tuning": "lora",
            "lora_rank": 4,
            "lora_alpha": 8,
            "warmup_steps": 3,
            "weight_decay": 0.1,
        }
    )
    assert model.tuning == LoRA(rank=4, alpha=8)
    assert model.training == {"warmup_steps": 3, "weight_decay": 0.1}
    assert model.set_params(tuning="full").fit(table, "y").horizon_ == 6
    assert len(model.predict()) == 6
    assert len(model._context(108)[0].X) == 60


@pytest.mark.parametrize(
    ("parameters", "change", "horizon", "sentence"),
    [
        ({}, lambda t: t[["y"]], 3, "time_column=None .* X has none .*; name the column"),
        ({}, lambda t: pd.concat([t, t.iloc[:1]]), 3, "holds 2 rows for 2015-01-01"),
        ({}, lambda t: t, 60, "horizon=60 is longer than 108 stamps allow: .*; 50 would do"),
        ({}, lambda t: t, 0, "horizon=0 must be a whole number"),
        ({}, lambda t: t, None, "horizon=None: say how many periods"),
        ({"context_length": 20}, lambda t: t, 12, "context_length=20 allows: .*; 6 would do"),
        ({"n_validation_windows": 9}, lambda t: t, 12, "n_validation_windows=9 .* at most 7"),
        ({"covariates": ["promo"]}, lambda t: t, 3, "df lacks the covariate 'promo'"),
        ({"covariates": ["y"]}, lambda t: t, 3, "target='y' is named as a covariate"),
        ({"transform": "log"}, lambda t: t.assign(y=t["y"] - 150), 3, "transform='log' needs"),
        ({}, lambda t: t.assign(y=t["y"].where(t.index != 5, np.inf)), 3, "target='y' holds inf;"),
        (
            {},
            lambda t: t.iloc[:5],
            2,
            "horizon=2 is longer than 5 .* more stamps are needed",
        ),
        ({}, lambda t: t.assign(y=np.nan), 3, "target='y' is missing in all rows"),
        ({}, lambda t: t.assign(y="many"), 3, "target='y' holds 'many'; it must hold finite"),
        ({}, lambda t: t.drop(columns="y"), 3, "target='y' is not a column of df"),
        ({"validation": "time"}, lambda t: t, 3, "validation"),
    ],
)
def test_what_cannot_be_forecast_gets_a_sentence(table, parameters, change, horizon, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        forecaster(**parameters).fit(change(table), "y", horizon)


def test_a_forecast_beyond_the_horizon_of_fit_gets_a_sentence(fitted):
    with pytest.raises(ValueError, match=r"horizon=13 .* of fit \(12\); fit with a longer"):
        fitted.predict(13)
    with pytest.raises(ValueError, match=r"quantiles=.* must be numbers between 0 and 1"):
        fitted.predict(quantiles=[50])


def test_a_constant_series_is_forecast_and_one_without_targets_is_named(table):
    flat = table.assign(y=5.0)
    with pytest.warns(UserWarning, match="constant target"):
        found = forecaster().fit(flat, "y", 6).predict()
    assert set(found["forecast"]) == {5.0}
    nothing = table.assign(name="b", y=np.nan)
    with pytest.warns(UserWarning, match="1 of 2 series have no target .* such as 'b'"):
        model = forecaster(id_column="name", max_steps=0).fit(pd.concat([table, nothing]), "y", 6)
    assert set(model.predict()["name"]) == {"a"}
    test = backtest(SeasonalNaive(), flat, "y", 6)
    assert test.metrics["mae"] == 0
    assert np.isnan(test.metrics["mase"])  # there is no error to measure in


def test_a_series_that_is_much_shorter_than_the_others_is_forecast(table):
    short = monthly(108, seed=1, name="b").iloc[-3:]
    both = pd.concat([table, short])
    found = forecaster(id_column="name", max_steps=0).fit(both, "y", 6).predict()
    own = found[found["name"] == "b"]
    assert own["month"].iloc[0] == pd.Timestamp("2024-01-01")
    assert np.isfinite(own[["forecast", "0.1", "0.9"]].to_numpy()).all()
    naive = SeasonalNaive(12, id_column="name").fit(both, "y", 6).predict()
    last = naive[naive["name"] == "b"]["forecast"]
    assert set(last) == {short["y"].iloc[-1]}


def test_covariates_do_not_keep_series_of_other_lengths_from_a_backtest(panel):
    known = panel.assign(promo=(panel["month"].dt.month == 12))
    model = forecaster(id_column="name", covariates=["promo"], max_steps=0)
    found = backtest(model, known, "y", 4, n_windows=2, refit=False)
    assert set(found.forecasts["name"]) == {"a"}
    future = monthly(120).assign(promo=False)
    fitted = model.fit(known, "y", 4)
    assert set(fitted.predict(future=future)["name"]) == {"a"}  # what is known of b is not given


@pytest.mark.parametrize(("season", "sentence"), [(0, "from 1 on"), (200, "more than the 108")])
def test_a_season_that_cannot_be_gets_a_sentence(table, season, sentence):
    with pytest.raises(ValueError, match=f"season={season} .*{sentence}"):
        SeasonalNaive(season).fit(table, "y", 3)


# --- backtests ----------------------------------------------------------------------------------


def test_a_backtest_forecasts_every_window_from_what_was_known(table):
    changed = table.copy()
    changed.loc[changed.index[-6:], "y"] *= 5  # the last window
    naive = SeasonalNaive(season=12)
    one, other = (backtest(naive, each, "y", 6, n_windows=3) for each in (table, changed))
    assert len(one.forecasts) == 18
    assert one.forecasts["step"].tolist() == [1, 2, 3, 4, 5, 6] * 3
    np.testing.assert_array_equal(one.forecasts["forecast"], other.forecasts["forecast"])
    assert one.forecasts["last"].iloc[0] == table["y"].iloc[-19]
    assert one.metrics_by("window")["mae"].iloc[:2].tolist() == pytest.approx(
        other.metrics_by("window")["mae"].iloc[:2].tolist()
    )
    assert one.metrics["mase"] == pytest.approx(
        np.mean(
            np.abs(one.forecasts["actual"] - one.forecasts["forecast"]) / one.forecasts["scale"]
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("refit", [True, False])
def test_a_forecaster_is_backtested_expanding_or_sliding(table, panel, refit):
    found = backtest(forecaster(id_column="name"), panel, "y", 4, n_windows=2, step=2, refit=refit)
    assert set(found.forecasts["name"]) == {"a"}  # the other series has ended before
    assert found.metrics["mase"] < 2
    slides = backtest(forecaster(), table, "y", 4, n_windows=2, max_train_size=60, refit=refit)
    assert len(slides.forecasts) == 8


def test_windows_that_leave_nothing_to_learn_from_get_a_sentence(table):
    with pytest.raises(ValueError, match="n_windows=9 of 12 periods, 12 apart, leave 0 of 108"):
        backtest(SeasonalNaive(), table, "y", 12, n_windows=9)

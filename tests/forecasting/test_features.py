"""Features of time series: what they hold, and that none looks ahead."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_tabpfn.forecasting import TimeSeriesFeatures
from finetune_tabpfn.forecasting._seasons import natural_seasons


def daily(n=120, seed=0, start="2024-01-01", **options):
    rng = np.random.default_rng(seed)
    day = np.arange(n)
    y = 10 + np.sin(2 * np.pi * day / 7) + 0.1 * rng.normal(size=n)
    return pd.DataFrame({"day": pd.date_range(start, periods=n, freq="D", **options), "y": y})


@settings(max_examples=40, deadline=None)
@given(
    horizon=st.integers(1, 20),
    step=st.integers(1, 20),
    row=st.integers(0, 99),
    seed=st.integers(0, 1000),
    n_series=st.integers(1, 3),
)
def test_no_feature_of_a_row_changes_with_targets_that_are_not_known_yet(
    horizon, step, row, seed, n_series
):
    """Nor does it with the row's own target, or those within its step before it."""
    step = min(step, horizon)
    rng = np.random.default_rng(seed)
    table = pd.concat([daily(100, seed + k).assign(series=f"s{k}") for k in range(n_series)])
    table = table.sample(frac=1, random_state=seed)  # the order of the rows means nothing
    last_known = table["day"].min() + pd.Timedelta(days=row - step)
    later = (table["day"] > last_known).to_numpy()
    changed = np.where(later, rng.normal(size=len(table)) * 100, table["y"])
    features = TimeSeriesFeatures(
        horizon, time_column="day", id_column="series", seasons=[7], windows=[3, 7]
    )
    at = (table["day"] == last_known + pd.Timedelta(days=step)).to_numpy()
    steps = np.full(at.sum(), step)
    one = features.fit(table, table["y"]).transform(table[at], steps)
    other = features.fit(table, changed).transform(table[at], steps)
    pd.testing.assert_frame_equal(one, other)


def test_rows_are_described_as_they_are_when_they_are_still_to_come():
    table = daily()
    horizon = 9
    features = TimeSeriesFeatures(horizon, seasons=[7], lags=[9, 14], windows=[7])
    whole = features.fit(table, table["y"]).transform(table).iloc[-horizon:]
    past, future = table.iloc[:-horizon], table.iloc[-horizon:]
    ahead = features.fit(past, past["y"]).transform(future[["day"]])
    pd.testing.assert_frame_equal(whole, ahead)


def test_a_row_one_step_ahead_knows_more_than_one_seven_ahead():
    table = daily()
    features = TimeSeriesFeatures(7, seasons=[7], windows=[3]).fit(table, np.arange(120.0))
    found = features.transform(table.iloc[-2:], steps=[1, 7]).to_dict("list")
    assert found["latest_1"] == [117, 112]
    assert found["latest_2"] == [116, 111]
    assert found["season_7_ago_1"] == [111, 112]
    assert found["season_7_ago_2"] == [104, 105]
    assert found["mean_3"] == [116, 111]
    assert found["step"] == [1, 7]
    with pytest.raises(ValueError, match="steps must lie between 1 and horizon=7"):
        features.transform(table.iloc[-2:], steps=[1, 8])


def test_a_lag_is_the_target_so_many_periods_before_also_over_missing_stamps():
    table = daily().drop(index=[50, 51, 80])
    table = table.drop(columns="y").assign(y=table.index.astype(float))
    found = TimeSeriesFeatures(3, lags=[3]).fit(table, table["y"]).transform(table)
    assert found.loc[60, "lag_3"] == 57
    assert np.isnan(found.loc[53, "lag_3"])  # the stamp of 50 is missing
    assert found.loc[54, "time_index"] == 54
    assert np.isnan(found.loc[2, "lag_3"])


def test_seasons_of_the_calendar_and_others_are_found():
    day = np.arange(400)
    rng = np.random.default_rng(0)
    noise = 0.3 * rng.normal(size=400)
    weekly = np.sin(2 * np.pi * day / 7) + 0.01 * day + noise
    odd = np.sin(2 * np.pi * day / 17) + noise
    table = daily(400)
    assert TimeSeriesFeatures().fit(table, weekly).seasons_ == [7]
    found = TimeSeriesFeatures().fit(table, odd)
    assert found.seasons_ == [17]
    assert "season_17_sin" in found.transform(table)
    assert TimeSeriesFeatures().fit(table, 0.01 * day + noise).seasons_ == []


@pytest.mark.parametrize(
    ("freq", "n", "cycles"),
    [
        ("15min", 3000, ["minute_of_hour", "hour_of_day", "day_of_week", "day_of_month"]),
        ("h", 200, ["hour_of_day", "day_of_week"]),
        ("D", 400, ["day_of_week", "day_of_month", "day_of_year"]),
        ("D", 20, ["day_of_week"]),
        ("W-MON", 120, ["day_of_year"]),
        ("MS", 30, ["day_of_year"]),
        ("YS", 30, []),
    ],
)
def test_the_calendar_is_as_fine_as_the_frequency(freq, n, cycles):
    table = pd.DataFrame(index=pd.date_range("2021-01-01", periods=n, freq=freq))
    found = TimeSeriesFeatures().fit(table, np.arange(float(n)))
    assert found.cycles_ == cycles


def test_days_in_local_time_stay_days_over_a_change_of_clocks():
    table = daily(60, start="2024-03-01", tz="Europe/Berlin")
    found = TimeSeriesFeatures(1, lags=[1]).fit(table, table["y"])
    features = found.transform(table)
    assert features["lag_1"].iloc[1:].to_numpy().tolist() == table["y"].iloc[:-1].tolist()
    turns = np.arctan2(features["day_of_week_sin"], features["day_of_week_cos"])
    assert len(np.unique(turns.round(6))) == 7


def test_hours_in_local_time_are_counted_in_utc_and_shown_as_clocks_do():
    stamps = pd.date_range("2024-10-25", periods=96, freq="h", tz="Europe/Berlin")
    table = pd.DataFrame({"hour": stamps})
    found = TimeSeriesFeatures(1, lags=[1]).fit(table, np.arange(96.0))
    features = found.transform(table)
    assert features["lag_1"].iloc[1:].tolist() == list(range(95))  # none twice, none missing
    angle = np.arctan2(features["hour_of_day_sin"], features["hour_of_day_cos"]) % (2 * np.pi)
    assert np.allclose(angle / (2 * np.pi) * 24, stamps.hour)


def test_series_keep_to_themselves_and_may_differ_in_length():
    one, other = daily(60).assign(series="a"), daily(30, start="2024-01-20").assign(series="b")
    table = pd.concat([one, other], ignore_index=True)
    target = np.r_[np.zeros(60), np.ones(30)]
    features = TimeSeriesFeatures(2, id_column="series", lags=[2], windows=[5])
    found = features.fit(table, target).transform(table)
    for series, value in (("a", 0.0), ("b", 1.0)):
        own = found[found["series"] == series]
        assert set(own["lag_2"].dropna()) == {value}
        assert set(own["mean_5"].dropna()) == {value}
    assert np.isnan(found.loc[60, "lag_2"])  # the first row of the second series


def test_covariates_pass_through_and_other_columns_do_not():
    table = daily().assign(holiday=True, weather=1.0)
    found = TimeSeriesFeatures(covariates=["holiday"]).fit(table, table["y"]).transform(table)
    assert found["holiday"].all()
    assert not {"weather", "y", "day"} & set(found)


@settings(max_examples=25, deadline=None)
@given(horizon=st.integers(1, 20), row=st.integers(0, 99), seed=st.integers(0, 1000))
def test_a_past_covariate_is_told_as_it_was_a_step_before_and_never_later(horizon, row, seed):
    rng = np.random.default_rng(seed)
    table = daily(100).assign(wind=rng.normal(size=100))
    step = int(rng.integers(1, horizon + 1))
    later = np.arange(100) > row - step
    changed = table.assign(wind=table["wind"].mask(later, rng.normal(size=100) * 100))
    features = TimeSeriesFeatures(horizon, past_covariates=["wind"], seasons=[7], windows=[5])
    one, other = (
        features.fit(each, table["y"]).transform(each.iloc[[row]], [step])
        for each in (table, changed)
    )
    pd.testing.assert_frame_equal(one, other)
    assert "wind" not in one
    if row >= step:
        assert one["wind_latest_1"].iloc[0] == table["wind"].iloc[row - step]
    if row >= 35:
        ago = row - 7 * -(-step // 7)
        assert one["wind_season_7_ago_1"].iloc[0] == table["wind"].iloc[ago]
        mean = table["wind"].iloc[row - step - 4 : row - step + 1].mean()
        assert one["wind_mean_5"].iloc[0] == pytest.approx(mean)


def test_a_covariate_is_never_taken_for_a_feature_of_the_series():
    table = daily(60).assign(std_7=5.0, step=1.0)
    found = TimeSeriesFeatures(3, covariates=["std_7"], windows=[5]).fit(table, table["y"])
    assert set(found.transform(table)["std_7"]) == {5.0}
    assert "std_7" not in found.spread_features_
    features = TimeSeriesFeatures(3, covariates=["std_7"], windows=[7]).fit(table, table["y"])
    with pytest.raises(ValueError, match="covariate 'std_7' has the name of a feature; rename it"):
        features.transform(table)


def test_it_is_a_step_of_a_pipeline():
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline

    table = daily(100)
    model = make_pipeline(TimeSeriesFeatures(7), HistGradientBoostingRegressor())
    model.fit(table[["day"]].iloc[:93], table["y"].iloc[:93])
    error = np.abs(model.predict(table[["day"]].iloc[93:]) - table["y"].iloc[93:]).mean()
    assert error < 0.4


def test_stamps_may_be_text_periods_or_the_index():
    table = daily(40)
    expected = TimeSeriesFeatures().fit(table, table["y"]).transform(table)
    for stamps in (table["day"].astype(str), table["day"].dt.to_period("D")):
        given = table.assign(day=stamps)
        features = TimeSeriesFeatures(time_column="day").fit(given, table["y"])
        pd.testing.assert_frame_equal(features.transform(given), expected)
    for form in ("%Y-%m-%d", "%d.%m.%Y"):  # text is found without being named
        given = table.assign(day=table["day"].dt.strftime(form), note="x-1")
        found = TimeSeriesFeatures().fit(given, table["y"]).transform(given)
        pd.testing.assert_frame_equal(found, expected)
    quarters = pd.DataFrame({"q": pd.period_range("2010Q1", periods=40, freq="Q").astype(str)})
    found = TimeSeriesFeatures().fit(quarters, table["y"])
    assert found.history_.grid.stamps(np.array([1]))[0] == pd.Timestamp("2010-04-01")
    given = table.set_index("day")
    found = TimeSeriesFeatures().fit(given, table["y"]).transform(given)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("freq", "drop", "expected"),
    [
        ("D", [3, 7, 20], "D"),
        ("B", [4, 11], "B"),
        ("W-WED", [3, 9], "W-WED"),
        ("MS", [2, 9], "MS"),
        ("QS", [5], "QS"),
        ("YS", [5], "YS"),
        ("h", [3, 20], "h"),
        ("15min", [3, 20], "15min"),
        (pd.offsets.MonthEnd(), [2, 9], pd.offsets.MonthEnd()),
    ],
)
def test_a_frequency_is_inferred_where_stamps_are_missing(freq, drop, expected):
    stamps = pd.date_range("2020-01-01", periods=40, freq=freq)
    kept = np.delete(np.arange(40), drop)
    features = TimeSeriesFeatures(lags=[1]).fit(pd.DataFrame(index=stamps[kept]), kept * 1.0)
    grid = features.history_.grid
    assert len(features.history_.values) == 40
    assert grid.stamps(np.arange(40)).equals(
        pd.date_range(stamps[0], periods=40, freq=expected).rename(None)
    )


def test_with_a_frequency_irregular_stamps_count_for_their_period():
    stamps = pd.date_range("2024-01-01", periods=30, freq="h") + pd.to_timedelta(
        np.random.default_rng(0).integers(0, 3600, 30), unit="s"
    )
    table = pd.DataFrame({"at": stamps})
    with pytest.raises(ValueError, match=r"freq=None: the frequency .* cannot be inferred"):
        TimeSeriesFeatures().fit(table, np.arange(30.0))
    found = TimeSeriesFeatures(lags=[1], freq="h").fit(table, np.arange(30.0)).transform(table)
    assert found["lag_1"].iloc[1:].tolist() == list(range(29))


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda t: t[["y"]], {}, r"time_column=None .* X has none \(it has 'y'\); name the"),
        (lambda t: t, {"time_column": "date"}, "time_column='date' is not a column of X"),
        (lambda t: t.assign(other=t["day"]), {}, "2 columns of dates"),
        (lambda t: t.assign(day=range(len(t))), {"time_column": "day"}, "0, not dates; where they"),
        (
            lambda t: t.assign(day=range(1949, 1949 + len(t))),
            {"time_column": "day"},
            "years are written 1949-01-01",
        ),
        (lambda t: t.assign(day=t["y"] + 1.7e9), {"time_column": "day"}, 'unit="s"'),
        (
            lambda t: t.assign(w="calm"),
            {"past_covariates": ["w"]},
            "covariate 'w' holds 'calm'",
        ),
        (lambda t: t, {"past_covariates": ["w"]}, "X lacks the past covariate 'w'"),
        (
            lambda t: t.assign(w=1.0),
            {"past_covariates": ["w"], "covariates": ["w"]},
            "'w' is named in covariates and in past_covariates",
        ),
        (lambda t: t, {"covariates": ["day"]}, "'day' is the time or id column"),
        (
            lambda t: t.assign(day="tomorrow"),
            {"time_column": "day"},
            "'tomorrow', which is no date",
        ),
        (lambda t: pd.concat([t, t.iloc[3:5]]), {}, "holds 2 rows for 2024-01-04 .*aggregate them"),
        (lambda t: t.iloc[:2], {}, "cannot be inferred from 2 different stamps"),
        (lambda t: t, {"freq": "often"}, "freq='often' is no frequency of pandas"),
        (lambda t: t, {"lags": [1, 7], "horizon": 3}, "lags=.* from 3 on, the horizon; 1 is not"),
        (lambda t: t, {"covariates": ["holiday"]}, "X lacks the covariate 'holiday'"),
        (lambda t: t, {"horizon": 0}, "horizon"),
        (lambda t: t.assign(day=t["day"].where(t["y"] > 9.1)), {}, "lacks .* stamps; drop"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(change, options, sentence):
    table = change(daily(60))
    with pytest.raises(ValueError, match=sentence):
        TimeSeriesFeatures(**options).fit(table, np.arange(float(len(table))))


def test_rows_that_cannot_be_described_get_a_sentence():
    table = daily(60).assign(series="a")
    features = TimeSeriesFeatures(7, id_column="series").fit(table, table["y"])
    future = daily(70).assign(series="a")
    with pytest.raises(ValueError, match=r"horizon=7: the row of 2024-03-10 .* 10 periods after"):
        features.transform(future)
    with pytest.raises(ValueError, match="holds the series 'b', which fit did not have"):
        features.transform(future.assign(series="b"))
    with pytest.raises(ValueError, match="lies before the first stamp"):
        features.transform(daily(5, start="2023-12-01").assign(series="a"))
    with pytest.raises(TypeError, match="X is a ndarray; a DataFrame is needed"):
        TimeSeriesFeatures().fit(np.zeros((5, 2)), np.zeros(5))


def test_a_season_is_found_once():
    month = np.arange(120)
    noise = np.random.default_rng(0).normal(size=120)
    y = 100 * np.exp(0.01 * month + 0.2 * np.sin(2 * np.pi * month / 12) + 0.03 * noise)
    table = pd.DataFrame(index=pd.date_range("2015-01-01", periods=120, freq="MS"))
    assert TimeSeriesFeatures(12).fit(table, y).seasons_ == [12]


@pytest.mark.parametrize(
    ("frequency", "seasons"),
    [
        ("h", (24, 168)),
        ("15min", (4, 96, 672)),
        ("D", (7, 365)),
        ("B", (5, 261)),
        ("W-MON", (52,)),
        ("MS", (12,)),
        ("QS", (4,)),
        ("YS", ()),
        (pd.DateOffset(months=1), (12,)),
        (pd.offsets.MonthBegin(2), (6,)),
    ],
)
def test_the_calendar_has_seasons(frequency, seasons):
    table = pd.DataFrame(index=pd.date_range("2021-01-15", periods=30, freq=frequency))
    grid = TimeSeriesFeatures().fit(table, np.arange(30.0)).history_.grid
    assert natural_seasons(grid.frequency) == seasons

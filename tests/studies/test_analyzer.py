"""What a study says: found where it was put in, and not where there is only noise."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_iris

from finetune_tabpfn.data._kinds import Columns
from finetune_tabpfn.studies import Study, StudyAnalyzer
from finetune_tabpfn.studies._insights import data_insights, shift
from finetune_tabpfn.studies._study_tables import study_tables
from made_up_study import experiment

RATES = np.geomspace(1e-5, 1e-3, 40)


def study(folder, losses, settings, **others):
    for number, (loss, parameters) in enumerate(zip(losses, settings, strict=True)):
        experiment(folder, number, parameters, float(loss), **others)
    return StudyAnalyzer(folder)


def drawn(n_runs, seed=0):
    """Return settings at random."""
    rng = np.random.default_rng(seed)
    return [
        {
            "learning_rate": float(rng.choice(RATES)),
            "batch_size": int(rng.choice([1, 2, 4])),
            "tuning": str(rng.choice(["full", "norm"])),
            "random_state": int(rng.integers(9)),
        }
        for _ in range(n_runs)
    ]


def noise(n_runs, size, seed=1):
    return size * np.random.default_rng(seed).normal(size=n_runs)


# which hyperparameters matter


def test_the_hyperparameter_that_decides_is_found_with_its_sign(tmp_path):
    settings = drawn(16)
    losses = 1 + 0.1 * np.log([s["learning_rate"] for s in settings]) + noise(16, 0.01)
    found = study(tmp_path, losses, settings).importance()
    assert found.method == "rank correlation"
    first = found.table.iloc[0]
    assert first["hyperparameter"] == "learning_rate"
    expected = spearmanr([s["learning_rate"] for s in settings], -losses).statistic
    assert first["effect"] == pytest.approx(expected)
    assert first["effect"] < -0.9  # a larger rate, a worse score
    assert found.table["matters"].tolist() == [True, False, False]
    begin = "By rank correlation of 16 runs (fANOVA needs 30 runs): learning_rate (-1.00)"
    assert found.verdict.startswith(begin)


def test_a_best_value_in_the_middle_is_found_though_it_has_no_direction(tmp_path):
    settings = [
        {"learning_rate": float(rate), "batch_size": 1 + k % 2} for k, rate in enumerate(RATES[::2])
    ]
    losses = 1 + np.log10([s["learning_rate"] / 1e-4 for s in settings]) ** 2 + noise(20, 0.01)
    found = study(tmp_path, losses, settings).importance()
    first = found.table.iloc[0]
    assert first["hyperparameter"] == "learning_rate"
    assert bool(first["matters"])
    assert abs(first["effect"]) < 0.2
    assert first["best"] == pytest.approx(1e-4, rel=0.3)
    assert (
        "learning_rate (best: 0.0001" in found.verdict or "learning_rate (best: 9" in found.verdict
    )


def test_of_text_the_best_value_is_named(tmp_path):
    settings = drawn(16)
    losses = [1.0 - 0.5 * (s["tuning"] == "norm") for s in settings] + noise(16, 0.01)
    found = study(tmp_path, losses, settings).importance()
    assert found.table.iloc[0][["hyperparameter", "best"]].tolist() == ["tuning", "norm"]
    assert "tuning (best: norm)" in found.verdict


@pytest.mark.slow
def test_noise_is_not_taken_for_an_effect(tmp_path):
    clear = 0
    for seed in range(10):
        folder = tmp_path / str(seed)
        clear += (
            study(folder, 1 + noise(16, 0.1, seed), drawn(16, seed))
            .importance()
            .table["matters"]
            .any()
        )
    assert clear <= 2


@pytest.mark.parametrize(
    ("n_runs", "said"), [(0, "0 runs, 6 are needed"), (5, "5 runs, 6 are needed")]
)
def test_too_few_runs_say_so(n_runs, said, tmp_path):
    analyzer = study(tmp_path, np.ones(n_runs), drawn(n_runs))
    found = analyzer.importance()
    assert found.method == "none"
    assert found.verdict == f"Too thin to say: {said}."
    assert found.table.empty
    assert all("Too thin to say" in v or "0 of" in v for v in analyzer.verdicts().values())


def test_enough_runs_are_divided_by_fanova(tmp_path):
    pytest.importorskip("optuna")
    settings = drawn(60)
    losses = 1 + 0.1 * np.log([s["learning_rate"] for s in settings])
    losses = losses + 0.05 * np.array([s["batch_size"] for s in settings]) + noise(60, 0.01)
    found = study(tmp_path, losses, settings).importance()
    assert found.method == "fANOVA"
    assert found.table["importance"].sum() == pytest.approx(1)
    names = found.table["hyperparameter"].tolist()
    assert names == ["learning_rate", "batch_size", "tuning"]
    assert found.explained > 0.5
    assert "of the score's variance: learning_rate (-0." in found.verdict


def test_tables_of_other_units_count_alike(tmp_path):
    settings = drawn(8)
    losses = np.log([s["learning_rate"] for s in settings])
    study(tmp_path, losses, settings)
    for number, (loss, parameters) in enumerate(zip(losses, settings, strict=True), 8):
        table = {"label": "other", "fingerprint": "e" * 32}
        experiment(tmp_path, number, parameters, 1000 + float(loss), table=table)
    found = StudyAnalyzer(tmp_path).importance()
    assert found.runs == 16
    assert found.table.iloc[0]["effect"] == pytest.approx(-1)
    assert StudyAnalyzer(tmp_path, table="other").importance().runs == 8


# interactions


def test_a_pair_that_is_more_than_its_parts_is_found(tmp_path):
    settings = drawn(30)
    high = np.array([s["learning_rate"] > 1e-4 for s in settings])
    norm = np.array([s["tuning"] == "norm" for s in settings])
    losses = 1 + 0.5 * (high ^ norm) + noise(30, 0.05)
    analyzer = study(tmp_path, losses, settings)
    found = analyzer.interactions()
    assert found.iloc[0]["pair"] == "learning_rate x tuning"
    assert found["matters"].tolist() == [True, False, False]
    assert "learning_rate x tuning" in analyzer.verdicts()["Interactions"]


def test_effects_that_only_add_up_are_no_interaction(tmp_path):
    settings = drawn(30)
    losses = [0.1 * s["batch_size"] + 0.3 * (s["tuning"] == "norm") for s in settings]
    found = study(tmp_path, losses + noise(30, 0.05), settings).interactions()
    assert not found["matters"].any()


# overfitting, seeds, curves


def test_overfitting_is_counted_in_spreads_over_folds(tmp_path):
    fit = {"n_steps": 0, "best_step": 0, "stop_reason": "too few rows"}
    common = {"folds": [{"fit": fit}] * 5, "validation_spread": {"log_loss": 0.1}}
    experiment(tmp_path, 0, {}, 0.5, train={"log_loss": 0.1}, **common)
    experiment(tmp_path, 1, {}, 0.5, train={"log_loss": 0.4}, **common)
    analyzer = StudyAnalyzer(tmp_path)
    found = analyzer.overfitting()
    assert found["gap"].to_numpy() == pytest.approx([0.4, 0.1])
    assert found["units"].to_numpy() == pytest.approx([4, 1])
    assert found["overfits"].tolist() == [True, False]
    assert "1 of 2 experiments do better" in analyzer.verdicts()["Overfitting"]


def test_without_folds_overfitting_is_not_told(tmp_path):
    analyzer = study(tmp_path, [0.5], [{}])
    assert analyzer.overfitting()["overfits"].tolist() == [None]
    assert "the spread needs 3 folds" in analyzer.verdicts()["Overfitting"]


def seeded(folder, difference):
    rng = np.random.default_rng(0)
    number = 0
    for batch_size, mean in ((1, 0.5), (2, 0.5 + difference)):
        for seed in range(4):
            parameters = {"batch_size": batch_size, "random_state": seed}
            experiment(folder, number, parameters, mean + 0.01 * rng.normal())
            number += 1
    return StudyAnalyzer(folder)


@pytest.mark.parametrize(("difference", "larger"), [(0.1, True), (0.001, False)])
def test_a_difference_is_held_against_the_seeds(difference, larger, tmp_path):
    analyzer = seeded(tmp_path, difference)
    found = analyzer.seeds()
    assert found["larger_than_noise"].tolist() == [False, larger]
    assert found["mean"].to_numpy() == pytest.approx([0.5, 0.5 + difference], abs=0.02)
    assert "The seed alone moves the metric by 0.0" in analyzer.verdicts()["Seeds against settings"]


def test_fits_that_were_cut_while_they_got_better_are_counted(tmp_path):
    fit = {"n_steps": 20, "best_step": 20, "stop_reason": "max_steps"}
    experiment(tmp_path, 0, {}, 0.5, folds=[{"fit": fit}])
    analyzer = StudyAnalyzer(tmp_path)
    assert "1 of 1 fits were at their best" in analyzer.verdicts()["Learning curves"]
    assert analyzer.learning_curves()["step"].tolist() == [0, 10]


def test_tasks_of_both_kinds_are_looked_at_one_by_one(tmp_path):
    experiment(tmp_path, 0, {}, 0.5)
    other = {"label": "b", "fingerprint": "b" * 32}
    metrics = {"validation": {"rmse": 1.0}, "train": {"rmse": 1.0}}
    experiment(tmp_path, 1, {}, 0.5, task="regression", table=other, **metrics)
    with pytest.raises(ValueError, match=r"tasks of both kinds; say which table: table='table'"):
        StudyAnalyzer(tmp_path).importance()
    assert StudyAnalyzer(tmp_path, table="b").metric == "validation_rmse"


# data


def table_of(frame, test=None):
    return study_tables(frame, None, test, target="y", task="auto", name="table")


def test_insights_say_what_a_table_holds():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=60),
            "gaps": [None, *"ab" * 29, "a"],
            "same": 1,
            "day": pd.date_range("2024-01-01", periods=60),
            "y": ["rare"] * 6 + ["often"] * 54,
        }
    )
    frame["copy"] = frame["number"] ** 3
    found = data_insights(table_of(frame))
    assert found["types"] == {"numbers": 3, "text": 1, "dates": 1}
    assert found["missing"]["columns"] == {"gaps": round(1 / 60, 4)}
    assert found["constant_columns"] == ["same"]
    assert found["target"]["counts"] == {"often": 54, "rare": 6}
    assert found["target"]["imbalance"] == 9
    assert found["target"]["balance"] == pytest.approx(0.469, abs=1e-3)
    assert found["correlations"]["between_columns"]["number ~ copy"] == 1
    assert "gaps" not in found["correlations"]["with_target"]  # text has no order
    assert next(iter(found["correlations"]["with_target"])) == "day"  # the rare ones came first
    assert found["shift"] is None


def test_a_skewed_target_is_described():
    frame = pd.DataFrame({"x": np.arange(200.0)})
    frame["y"] = np.exp(np.random.default_rng(0).normal(size=200))
    target = data_insights(table_of(frame))["target"]
    assert target["skewness"] > 1
    assert target["kurtosis"] > 1
    assert target["quantiles"]["0.5"] == pytest.approx(frame["y"].median())


def test_a_shift_between_train_and_test_is_seen_and_none_is_not_invented():
    flowers = load_iris(as_frame=True).frame.rename(columns={"target": "y"})
    mixed = flowers.sample(frac=1, random_state=0)
    alike = data_insights(table_of(mixed[:90], mixed[90:]))["shift"]
    assert alike["against"] == "test"
    assert alike["p_value"] > 0.05
    by_kind = data_insights(table_of(flowers[:100], flowers[100:]))["shift"]
    assert by_kind["auc"] > 0.9
    assert by_kind["p_value"] < 1e-6
    assert "petal" in next(iter(by_kind["columns"]))


def test_a_handful_of_rows_is_not_compared():
    few = pd.DataFrame({"x": np.arange(10.0)})
    assert shift(few, few, Columns.of(few))["p_value"] is None


def test_an_analyzer_takes_a_study_or_its_folder(tmp_path):
    experiment(tmp_path, 0, {"batch_size": 1}, 0.5)
    assert StudyAnalyzer(Study(tmp_path)).best()["table"].id == "made_000"
    assert StudyAnalyzer(tmp_path).compare()["hp_batch_size"].tolist() == [1]

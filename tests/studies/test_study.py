"""Studies: experiments, searches, what is left on disk, and what is refused."""

import doctest
import json
import re
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, ParameterSampler, RandomizedSearchCV, ShuffleSplit

from finetune_tabpfn import FinetunedTabPFNClassifier, studies
from finetune_tabpfn.studies import Range, SearchSpace, Study, search_space
from finetune_tabpfn.studies._search_space import draws_of, grid_of, refined
from finetune_tabpfn.studies._study_records import new_folder

QUICK = {"base_model": "mini", "max_steps": 2, "n_estimators": 1}
FLOWERS = load_iris(as_frame=True).frame.sample(frac=1, random_state=0).round(3)
TRAIN, TEST = FLOWERS[:80].reset_index(drop=True), FLOWERS[80:120].reset_index(drop=True)
PATIENTS = load_diabetes(as_frame=True).frame[:90]
TWO = {"learning_rate": [1e-4, 1e-3]}


def grid(study, param_grid=TWO, **others):
    return study.grid_search(param_grid, TRAIN, target="target", parameters=QUICK, **others)


def without_time(experiment):
    """Return what an experiment came to, without what differs from run to run."""
    found = experiment.model_dump(exclude={"id", "time", "seconds", "folder"})
    for row in found["history"]:
        del row["seconds"]
    return found


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Give a study with a grid of two experiments that have test rows."""
    study = Study(tmp_path_factory.mktemp("study"))
    grid(study, test=TEST, notes="a first look")
    return study


def test_an_experiment_has_a_folder_with_one_record_of_all_of_it(searched):
    first, second = searched.load()
    assert re.fullmatch(r"grid_\d{8}-\d{6}(-\d+)?", first.id)
    assert sorted(file.name for file in first.folder.iterdir()) == ["model.joblib", "results.json"]
    record = json.loads((first.folder / "results.json").read_text())
    assert record["parameters"] == {"random_state": 0, **QUICK, "learning_rate": 1e-4}
    assert record["status"] == "done"
    assert record["notes"] == "a first look"
    assert record["history"][0]["step"] == 0
    assert record["history"][-1]["step"] == 2
    assert record["insights"]["rows"] == {"train": 64, "validation": 16, "test": 40}
    assert record["versions"]["tabpfn"]
    assert first.id != second.id


def test_a_study_says_where_it_is_and_how_much_is_done(searched):
    assert repr(searched).startswith(f"<Study in {str(searched.base_dir)!r}: 2 experiments;")


def test_the_metrics_are_those_of_the_model_that_is_kept(searched):
    best = searched.best("validation_log_loss")
    model = best.load_model()
    proba = model.predict_proba(TEST.drop(columns="target")).astype(float)
    said = log_loss(TEST["target"], proba / proba.sum(axis=1, keepdims=True))
    assert best.test["log_loss"] == pytest.approx(said, abs=1e-6)
    assert 0 < best.train["log_loss"] < 1
    with pytest.raises(ValueError, match=r"fold=1 has no model in .*; the experiment is done"):
        best.load_model(1)


def test_experiments_are_compared_in_one_table_that_a_csv_holds(searched, tmp_path):
    table = searched.compare()
    assert list(table["hp_learning_rate"]) == [1e-4, 1e-3]
    assert {"test_accuracy", "validation_log_loss", "train_log_loss", "id", "table"} <= {*table}
    read = pd.read_csv(searched.to_csv(tmp_path / "study.csv"))
    assert list(read) == list(table)
    assert read["test_log_loss"].to_numpy() == pytest.approx(table["test_log_loss"].to_numpy())


def test_the_best_has_the_smallest_loss_or_the_greatest_score(searched):
    table = searched.compare().set_index("id")
    for metric, best in (("test_log_loss", "min"), ("test_accuracy", "max")):
        value = searched.best(metric).metric(metric)
        assert value == getattr(table[metric], best)()


def test_a_search_that_was_done_is_not_done_again(searched):
    before = sorted(searched.base_dir.iterdir())
    again = grid(searched, test=TEST)
    assert [one.id for one in again] == [one.id for one in searched.load()]
    assert sorted(searched.base_dir.iterdir()) == before


class CtrlC:
    """Interrupts the second fit that it sees."""

    fits = 0

    def on_train_begin(self, state):
        CtrlC.fits += 1
        if CtrlC.fits == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_search_goes_on_with_what_is_missing(tmp_path):
    study = Study(tmp_path)
    parameters = {**QUICK, "callbacks": [CtrlC()]}
    with pytest.raises(KeyboardInterrupt):
        study.grid_search(TWO, TRAIN, target="target", parameters=parameters)
    (first,) = study.load()
    found = study.grid_search(TWO, TRAIN, target="target", parameters=parameters)
    assert [one.parameters["learning_rate"] for one in found] == [1e-4, 1e-3]
    assert found[0] == first
    assert len(study.load()) == 2
    assert CtrlC.fits == 3


@pytest.mark.slow
def test_a_failed_experiment_is_recorded_and_the_search_goes_on(tmp_path):
    study = Study(tmp_path)
    with pytest.warns(UserWarning, match=r"1 of 2 experiments failed; grid_.*'nobody'"):
        found = grid(study, {"class_weight": [{"nobody": 2}, None]})
    assert [one.status for one in found] == ["failed", "done"]
    assert "'nobody' is not a class of y" in found[0].error
    table = study.compare()
    assert table["error"].notna().tolist() == [True, False]
    assert study.best() == found[1]


class FailsInTheSecondFold:
    """Raises in the second fit that it sees."""

    fits = 0

    def on_train_begin(self, state):
        FailsInTheSecondFold.fits += 1
        if FailsInTheSecondFold.fits == 2:
            raise OSError("the disk is full")


@pytest.mark.slow
def test_what_failed_half_way_is_not_compared_with_the_others(tmp_path):
    parameters = {**QUICK, "callbacks": [FailsInTheSecondFold()]}
    study = Study(tmp_path, save_models=False)
    with pytest.warns(UserWarning, match="the disk is full"):
        one = study.run_experiment(PATIENTS, KFold(2), target="target", parameters=parameters)
    assert one.status == "failed"
    assert one.validation == {}
    assert len(one.folds) == 1  # what is known stays
    with pytest.raises(ValueError, match=r"had by none of 1 experiments .* the disk is full"):
        study.best()


def test_workers_that_begin_at_once_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: new_folder(tmp_path, "same"), range(40)))
    assert len({*folders}) == 40


@pytest.mark.slow
def test_a_splitter_gives_means_over_folds_and_their_spread(tmp_path):
    study = Study(tmp_path)
    one = study.run_experiment(PATIENTS, KFold(2), target="target", parameters=QUICK)
    assert one.task == "regression"
    of_folds = [fold["validation"]["rmse"] for fold in one.folds]
    assert one.validation["rmse"] == pytest.approx(np.mean(of_folds))
    assert one.validation_spread["rmse"] == pytest.approx(np.std(of_folds, ddof=1))
    assert one.models == ["model-1.joblib", "model-2.joblib"]
    assert study.best().id == one.id
    assert "validation_rmse_spread" in study.compare()


@pytest.mark.slow
def test_tables_in_files_are_read_alike(tmp_path):
    paths = {name: tmp_path / f"{name}.csv" for name in ("train", "validation", "test")}
    for path, table in zip(paths.values(), (TRAIN, TEST[:20], TEST[20:]), strict=True):
        table.to_csv(path, index=False)
    study = Study(tmp_path / "study", save_models=False)
    of_files = study.run_experiment(*paths.values(), target="target", parameters=QUICK)
    of_frames = study.run_experiment(
        TRAIN, TEST[:20], TEST[20:], target="target", parameters=QUICK, name="train"
    )
    assert without_time(of_files)["test"] == without_time(of_frames)["test"]
    assert of_files.key == of_frames.key
    assert of_files.models == []
    assert of_files.table["rows"] == {"train": 80, "validation": 20, "test": 20}


@pytest.mark.slow
def test_two_workers_come_to_the_same(tmp_path):
    settings = {"learning_rate": [1e-4, 1e-3]}
    serial = grid(Study(tmp_path / "serial"), settings)
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        parallel = grid(Study(tmp_path / "parallel"), settings)
    assert [*map(without_time, serial)] == [*map(without_time, parallel)]


@pytest.mark.slow
def test_lines_name_their_experiment(tmp_path, capsys):
    grid(Study(tmp_path, verbose=True), {"learning_rate": [1e-3]})
    begins, ends = capsys.readouterr().err.splitlines()
    assert re.match(r"\[grid 1/1\] grid_\S+: begins, .*learning_rate=0.001$", begins)
    assert re.match(r"\[grid 1/1\] grid_\S+: validation_log_loss 0\.\d+, \d+\.\d s$", ends)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is damaged and cannot be read as JSON of a study; it is left out"),
        ('{"format": 9}', "has format 9, and this version reads format 1 alone; it is left out"),
        ('{"format": 1}', "is damaged: id: Field required; it is left out"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(text, said, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "results.json").write_text(text)
    with pytest.warns(UserWarning, match=f"old.results.json {re.escape(said)}"):
        assert Study(tmp_path).load() == []


def run(study, **others):
    arguments = {"train": TRAIN, "target": "target", "parameters": QUICK, **others}
    study.run_experiment(**arguments)


WRONG = {
    "no table": (lambda s: run(s, train=3), "train=3 must be a DataFrame"),
    "no target": (lambda s: run(s, target="color"), "no column 'color'"),
    "no name": (lambda s: run(s, name="a/b"), "name='a/b' must be letters"),
    "validation": (lambda s: run(s, validation=0.2), "validation=0.2 must be a table"),
    "other columns": (
        lambda s: run(s, test=TEST.rename(columns={"petal width (cm)": "width"})),
        r"test lacks the column 'petal width \(cm\)', which train has",
    ),
    "a label that nothing teaches": (
        lambda s: run(s, validation=TEST.assign(target=7)),
        "validation holds the label 7, which train does not",
    ),
    "a target with gaps": (
        lambda s: run(s, train=TRAIN.assign(target=np.nan)),
        re.escape("train['target'] contains NaN in 80 of 80 rows"),
    ),
    "an unseeded splitter": (
        lambda s: run(s, validation=ShuffleSplit(2)),
        "divides the rows anew with every call; give it a random_state",
    ),
    "an unknown setting": (
        lambda s: run(s, parameters={"learning_rat": 1}),
        "parameters hold 'learning_rat', which is unknown; did you mean 'learning_rate'",
    ),
    "a setting that is not permitted": (
        lambda s: grid(s, {"learning_rate": [1e-4, 7]}),
        "'learning_rate' parameter .* Got 7",
    ),
    "what a study decides": (
        lambda s: run(s, parameters={"log_dir": "logs"}),
        "log_dir='logs', which a study decides: an experiment's loggers write",
    ),
    "no seed": (lambda s: run(s, parameters={"random_state": None}), "random_state=None would"),
    "a grid of a range": (
        lambda s: grid(s, {"learning_rate": Range(1e-5, 1e-3)}),
        "a grid needs a list of values, and random_search draws",
    ),
    "an empty grid": (lambda s: grid(s, {}), "param_grid={} must be a mapping"),
    "refine": (lambda s: grid(s, refine=-1), "refine=-1 must be a whole number from 0"),
    "the rows of a metric": (
        lambda s: grid(s, metric="log_loss"),
        "metric='log_loss' must begin with the rows that it is of",
    ),
    "a metric without a direction": (
        lambda s: grid(s, metric="validation_coverage_80"),
        "metric is 'coverage_80', which is unknown",
    ),
    "nothing yet": (lambda s: s.best(), "holds no experiment yet"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_before_anything_is_fitted(wrong, tmp_path):
    use, said = WRONG[wrong]
    with pytest.raises(ValueError, match=said):
        use(Study(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_best_of_several_tables_needs_to_know_which(tmp_path):
    study = Study(tmp_path, save_models=False)
    for name, table in (("first", TRAIN), ("second", TEST)):
        study.run_experiment(table, target="target", parameters=QUICK, name=name)
    with pytest.raises(ValueError, match=r"several tables; say which: table='first'"):
        study.best()
    assert study.best(table="second").name == "second"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("Study", marks=pytest.mark.slow),
        "StudyAnalyzer",
        "Range",
        "SearchSpace",
        "search_space",
    ],
)
def test_the_example_of_a_docstring_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(studies, name), name, globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


# search spaces


def test_the_same_seed_draws_the_same_settings():
    space = search_space(base_model="mini")
    assert draws_of(space, 5, 0) == draws_of(space, 5, 0) != draws_of(space, 5, 1)
    assert len(draws_of({"batch_size": [1, 2]}, 10, 0)) == 2


def test_a_range_holds_both_ends_and_nothing_beyond():
    whole = [Range(1, 3).rvs(seed) for seed in range(60)]
    assert {*whole} == {1, 2, 3}
    logarithmic = [Range(1e-4, 1e-2, log=True).rvs(seed) for seed in range(200)]
    assert 1e-4 <= min(logarithmic) < 2e-4
    assert np.median(logarithmic) == pytest.approx(1e-3, rel=0.5)
    with pytest.raises(ValueError, match=r"low=2, high=1.* must have a low end below"):
        Range(2, 1)
    with pytest.raises(ValueError, match="must begin above 0, because log=True"):
        Range(0, 1, log=True)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_space_is_one_of_scikit_learn_as_well(task):
    space = search_space(task)
    draws = list(ParameterSampler(space.for_sklearn(), 20, random_state=0))
    for settings in draws:
        if task == "classification":
            FinetunedTabPFNClassifier().set_params(**settings)._validate_params()
    assert "training__ema_decay" in draws[0]


@pytest.mark.slow
def test_scikit_learn_searches_it():
    space = SearchSpace(learning_rate=Range(1e-4, 1e-3, log=True), ema_decay=[0.0, 0.9])
    model = FinetunedTabPFNClassifier(**QUICK, random_state=0)
    X, y = TRAIN.drop(columns="target"), TRAIN["target"]
    search = RandomizedSearchCV(model, space.for_sklearn(), n_iter=2, cv=2, random_state=0)
    assert search.fit(X, y).best_params_["training__ema_decay"] in (0.0, 0.9)


def test_a_finer_grid_lies_around_the_best():
    coarse = {
        "learning_rate": [1e-5, 1e-4, 1e-3],
        "batch_size": [1, 2, 8],
        "tuning": ["full", "norm"],
    }
    best = {"learning_rate": 1e-4, "batch_size": 8, "tuning": "norm"}
    assert refined(coarse, best) == {
        "learning_rate": [3.162e-05, 1e-4, 0.0003162],
        "batch_size": [5, 8, 11],
        "tuning": ["norm"],
    }
    assert len(grid_of(coarse)) == 18


@pytest.mark.slow
def test_a_search_that_is_refined_goes_on_around_its_best(tmp_path):
    found = grid(Study(tmp_path, save_models=False), {"batch_size": [1, 3]}, refine=1)
    assert [one.parameters["batch_size"] for one in found][:2] == [1, 3]
    assert 2 in [one.parameters["batch_size"] for one in found]
    assert len({one.id for one in found}) == len(found)

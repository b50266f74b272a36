"""From a raw file to a clean table, training rows and test rows."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest

from finetune_tabpfn.cli import main
from finetune_tabpfn.data._io import read_table
from finetune_tabpfn.studies._cleaning import CleaningRules, clean
from finetune_tabpfn.studies._hub import local_file
from finetune_tabpfn.studies._prepare import prepare
from finetune_tabpfn.studies._tfidf import text_columns, text_components
from hub_stand_in import TOKEN, hub

RAW = """age,copy,nothing,colour,label
31,31,,red, yes
31,31,,red,yes
45,45,,  ,no
,,,,no
52,52,,blue,
18,18,,green,No
77,77,,green,maybe
64,64,,blue,yes
"""


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text(RAW)
    return path


@pytest.fixture
def reviews(tmp_path):
    """Give a table with a column of free text, one of categories and 90 rows."""
    rng = np.random.default_rng(0)
    words = ["good", "bad", "slow", "fast", "cheap", "broken", "lovely", "heavy", "light"]
    table = pd.DataFrame(
        {
            "text": [" ".join(rng.choice(words, 6)) for _ in range(90)],
            "shop": rng.choice(["north", "south"], 90),
            "stars": rng.integers(0, 3, 90),
        }
    )
    table.loc[0, "text"] = None
    table.to_json(tmp_path / "reviews.jsonl", orient="records", lines=True)
    return tmp_path / "reviews.jsonl"


def counts(steps):
    return {step.rule: (step.rows, len(step.columns)) for step in steps}


def test_every_rule_says_what_it_took(raw):
    table, steps = clean(read_table(raw), "label", CleaningRules(merge_labels={"No": "no"}))
    assert counts(steps) == {
        "blank or infinite cells made missing": (0, 0),
        "empty columns dropped": (0, 1),
        "duplicate columns dropped": (0, 1),
        "empty rows dropped": (1, 0),
        "labels trimmed": (0, 0),  # the CSV reader has done it
        "rows without a label dropped": (1, 0),
        "labels merged": (1, 0),
        "rows of unwanted labels dropped": (0, 0),
        "duplicate rows dropped": (1, 0),
        "rows of large classes dropped": (0, 0),
    }
    assert table.columns.tolist() == ["age", "colour", "label"]
    assert table["label"].tolist() == ["yes", "no", "no", "maybe", "yes"]


def test_the_table_that_came_in_is_left_alone(raw):
    before = read_table(raw)
    table = before.copy()
    clean(table, "label")
    pd.testing.assert_frame_equal(table, before)


def test_spaces_and_infinity():
    table = pd.DataFrame(
        {"x": [1.0, np.inf, 3.0], "t": ["a", " \t", "b"], "y": [" not  ok", "fine ", "not ok"]}
    )
    table, steps = clean(table.assign(z=[1, 2, 2]), "y")
    assert steps[0].cells == 2
    assert table.isna().sum().tolist() == [1, 1, 0, 0]
    assert table["y"].tolist() == ["not ok", "fine", "not ok"]
    assert counts(steps)["labels trimmed"] == (2, 0)


def test_a_copy_of_the_target_is_dropped():
    table = pd.DataFrame({"a": [1.5, 2.0, 3.0], "leak": ["u", "v", "u"], "y": ["u", "v", "u"]})
    table, steps = clean(table, "y")
    assert list(table) == ["a", "y"]
    assert steps[2].detail == "leak repeats y"


def test_classes_are_reduced_by_number_and_by_ratio():
    table = pd.DataFrame({"x": np.arange(90), "y": ["a"] * 60 + ["b"] * 20 + ["c"] * 10})
    for rules, wanted in (
        (CleaningRules(max_per_class=15), {"a": 15, "b": 15, "c": 10}),
        (CleaningRules(max_ratio=1.5), {"a": 15, "b": 15, "c": 10}),
        (CleaningRules(drop_labels=["c"], max_ratio=1.0), {"a": 20, "b": 20}),
    ):
        kept, _ = clean(table, "y", rules)
        assert kept["y"].value_counts().to_dict() == wanted
        assert kept["x"].is_monotonic_increasing
    again, _ = clean(table, "y", CleaningRules(max_per_class=15))
    other, _ = clean(table, "y", CleaningRules(max_per_class=15, random_state=1))
    assert clean(table, "y", CleaningRules(max_per_class=15))[0].equals(again)
    assert not other.equals(again)


def test_labels_that_are_numbers_are_merged_as_numbers():
    table = pd.DataFrame({"x": [1, 2, 3, 4], "y": [0, 1, 2, 2]})
    merged, _ = clean(table, "y", CleaningRules(merge_labels={"2": "1"}))
    assert merged["y"].tolist() == [0, 1, 1, 1]
    named, _ = clean(
        table, "y", CleaningRules(merge_labels={"0": "none", "1": "some", "2": "some"})
    )
    assert named["y"].tolist() == ["none", "some", "some", "some"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"drop_labels": ["mabye"]}, "names the label 'mabye', which is unknown; .*'maybe'"),
        ({"merge_labels": {"x": "yes"}}, "known are yes, no"),
        ({"max_ratio": 0.5}, "max_ratio=0.5 must be 1 or more"),
        ({"max_per_class": 0}, "max_per_class=0 must be 1 or more"),
        ({"drop_labels": ["yes", "no", "No", "maybe"]}, "Nothing is left"),
    ],
)
def test_rules_that_cannot_be_followed(rules, message, raw):
    with pytest.raises(ValueError, match=message):
        clean(read_table(raw), "label", CleaningRules(**rules))


def test_rules_of_labels_are_not_for_quantities():
    table = pd.DataFrame({"x": range(40), "y": np.linspace(0, 1, 40)})
    with pytest.raises(ValueError, match="max_per_class is for labels, but 'y' is a quantity"):
        clean(table, "y", CleaningRules(max_per_class=3))


def test_many_classes_that_are_numbers(tmp_path):
    table = pd.DataFrame({"x": np.arange(100), "y": np.repeat(np.arange(25), 4)})
    table.to_csv(tmp_path / "t.csv", index=False)
    rules = CleaningRules(drop_labels=["7"])
    report = prepare(tmp_path / "t.csv", tmp_path, target="y", rules=rules, task="classification")
    assert len(report.labels) == 24
    assert report.test_rows == 24


def test_prepare_as_a_user_would(raw, tmp_path, capsys):
    options = ["--merge-label=No=no", "--drop-label=maybe", "--test-size=0.5", "--json"]
    files = [str(raw), "--target", "label", "--out", str(tmp_path / "out")]
    assert main(["prepare", *files, *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert (report["rows_before"], report["rows"]) == (8, 4)
    assert report["labels"] == {"yes": 2, "no": 2}
    train, test = (pd.read_csv(tmp_path / "out" / f"{n}.csv") for n in ("train", "test"))
    assert sorted(train["label"]) == sorted(test["label"]) == ["no", "yes"]
    whole = pd.concat([train, test]).sort_values("age").reset_index(drop=True)
    clean_table = pd.read_csv(tmp_path / "out" / "clean.csv").sort_values("age")
    pd.testing.assert_frame_equal(whole, clean_table.reset_index(drop=True))


def test_the_report_for_reading(raw, tmp_path, capsys):
    assert main(["prepare", str(raw), "--target", "label", "--out", str(tmp_path / "o")]) == 0
    said = capsys.readouterr().out
    assert "8 rows, 5 columns -> 5 rows, 3 columns; classification of 'label'" in said
    assert "duplicate columns dropped" in said
    assert "copy repeats age" in said
    assert f"saved {tmp_path / 'o' / 'train.csv'}" in said


def test_a_mapping_in_a_file(raw, tmp_path, capsys):
    mapping = tmp_path / "labels.yaml"
    mapping.write_text("No: no\nmaybe: no\n")  # `no` is a boolean to YAML, and a label here
    arguments = ["prepare", str(raw), "--target", "label", "--out", str(tmp_path / "o")]
    assert main([*arguments, "--merge-labels", str(mapping), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == {"no": 3, "yes": 2}
    mapping.write_text("- no\n")
    assert main([*arguments, "--merge-labels", str(mapping)]) == 1
    assert "must hold lines of `old label: new label`" in capsys.readouterr().err


def test_the_split_is_seeded_and_stratified(tmp_path):
    table = pd.DataFrame({"x": np.arange(100), "y": ["a"] * 80 + ["b"] * 18 + ["c"] * 2})
    table.to_parquet(tmp_path / "t.parquet")
    for folder, seed in (("one", 1), ("again", 1), ("two", 2)):
        prepare(tmp_path / "t.parquet", tmp_path / folder, target="y", random_state=seed)
    one, again, two = (
        pd.read_parquet(tmp_path / f / "test.parquet") for f in ("one", "again", "two")
    )
    assert one.equals(again)
    assert not one.equals(two)
    share = one["y"].value_counts()
    assert abs(share["a"] - 16) <= 1
    assert share["c"] == 1


def test_tfidf_is_learned_from_the_training_rows(reviews, tmp_path):
    report = prepare(reviews, tmp_path, target="stars", tfidf="auto", n_components=4)
    assert report.text_columns == ["text"]
    train, test = (read_table(tmp_path / f"{name}.jsonl") for name in ("train", "test"))
    names = [*(f"text_{k}" for k in range(4)), "shop", "stars"]
    assert train.columns.tolist() == test.columns.tolist() == names
    assert "text" in read_table(tmp_path / "clean.jsonl")  # the text itself is kept there
    fitted = joblib.load(tmp_path / "text.joblib")
    new = pd.DataFrame(
        {"text": ["a word that no training row has: xylophone", None], "shop": "north"}
    )
    components = fitted.transform(new)
    assert np.allclose(components.iloc[1, :4].astype(float), 0)


def test_text_is_kept_unless_asked(reviews, tmp_path):
    prepare(reviews, tmp_path, target="stars")
    assert "text" in read_table(tmp_path / "train.jsonl")
    assert not (tmp_path / "text.joblib").exists()


def test_which_columns_are_text(reviews):
    assert text_columns(read_table(reviews)) == ["text"]
    with pytest.raises(ValueError, match="no column 'txt' among 'text', 'shop'; did you mean"):
        text_components(read_table(reviews).drop(columns="stars"), ["txt"])
    blank = pd.DataFrame({"t": ["", None] * 4})
    with pytest.raises(ValueError, match="'t' cannot be turned into TF-IDF"):
        text_components(blank, ["t"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "labl"], "There is no column 'labl'"),
        (["--target", "label", "--test-size", "1.5"], "test_size=1.5 must be between 0 and 1"),
        (["--target", "label", "--merge-label", "yes"], "--merge-label yes must be OLD=NEW"),
        (["--target", "label", "--merge-labels", "no.yaml"], "no.yaml is not a file"),
        (["--target", "label", "--tfidf", "colr"], "There is no column 'colr'"),
        (["--target", "label", "--hub-repo", "mine"], "hub_repo='mine' must be OWNER/NAME"),
    ],
)
def test_what_prepare_cannot_do(arguments, message, raw, tmp_path, capsys):
    assert main(["prepare", str(raw), "--out", str(tmp_path / "out"), *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Give a hub of the tests' own, and huggingface_hub an empty cache."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    with hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_to_the_hub_and_back(raw, tmp_path, stand_in, capsys):
    arguments = ["--target", "label", "--out", str(tmp_path / "out")]
    pushed = [*arguments, "--hub-repo", "me/churn", "--private"]
    assert main(["prepare", str(raw), *pushed]) == 0
    assert "pushed to hf://datasets/me/churn" in capsys.readouterr().out
    assert set(stand_in.repos["me/churn"]) == {"clean.csv", "train.csv", "test.csv", "report.json"}
    assert stand_in.private == {"me/churn"}
    assert main(["prepare", "hf://datasets/me/churn/clean.csv", *arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows_before"] == report["rows"] == 5
    assert main(["prepare", "hf://datasets/me/churn", *arguments]) == 1
    assert "holds clean.csv, train.csv, test.csv; name one" in capsys.readouterr().err
    stand_in.repos["me/one"] = {"table.csv": RAW.encode(), "README.md": b"# One"}
    assert main(["prepare", "hf://datasets/me/one@main", *arguments]) == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf://datasets/me/none/t.csv", "no such dataset, or it is private; check the name"),
        ("hf://datasets/me/there/none.csv", "no such file in the dataset"),
        (
            "hf://models/me/there",
            "is not the address of a dataset; hf://datasets/OWNER/NAME/FILE is",
        ),
    ],
)
def test_what_the_hub_does_not_have(source, message, stand_in, tmp_path, capsys):
    stand_in.repos["me/there"] = {"t.csv": RAW.encode()}
    assert main(["prepare", source, "--target", "label", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_without_a_token_the_files_stay_here(raw, stand_in, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    pushed = ["--target", "label", "--out", str(tmp_path / "out"), "--hub-repo", "me/churn"]
    assert main(["prepare", str(raw), *pushed]) == 1
    assert "the hub refused (401); set HF_TOKEN" in capsys.readouterr().err
    assert (tmp_path / "out" / "train.csv").is_file()


@pytest.fixture
def unreachable(stand_in, monkeypatch):
    """Switch the hub off after a file has been read from it."""
    stand_in.repos["me/there"] = {"t.csv": RAW.encode()}
    local_file("hf://datasets/me/there/t.csv")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the port that discards


@pytest.mark.usefixtures("unreachable")
@pytest.mark.parametrize("address", ["hf://datasets/me/there", "hf://datasets/me/there/other.csv"])
def test_a_hub_that_cannot_be_reached(address, tmp_path, capsys):
    assert main(["prepare", address, "--target", "label", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"{address} cannot be read: the hub at http://127.0.0.1:9 cannot be reached" in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("unreachable")
def test_what_was_read_before_needs_no_network():
    assert local_file("hf://datasets/me/there/t.csv").read_text() == RAW


@pytest.mark.usefixtures("unreachable")
def test_a_push_without_network(raw, tmp_path, capsys):
    pushed = ["--target", "label", "--out", str(tmp_path / "out"), "--hub-repo", "me/churn"]
    assert main(["prepare", str(raw), *pushed]) == 1
    assert "hub_repo='me/churn' cannot be written: the hub at" in capsys.readouterr().err


def test_a_hub_that_is_switched_off(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["prepare", "hf://datasets/me/t", "--target", "y", "--out", str(tmp_path)]) == 1
    assert "HF_HUB_OFFLINE is set; unset it, or give a file" in capsys.readouterr().err

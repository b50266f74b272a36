"""Before the work begins: help, versions, wrong usage, completion. At once, without torch."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from finetune_tabpfn.cli import main
from finetune_tabpfn.cli._parser import positional_last
from finetune_tabpfn.cli._program import parser
from finetune_tabpfn.cli.commands._preview import SAMPLE_SIZE
from finetune_tabpfn.runs._options import (
    as_typed,
    checked,
    settings,
    settings_of_forecasts,
    settings_of_runs,
    settings_of_tables,
)
from finetune_tabpfn.studies import _preview

SLOW = ("torch", "sklearn", "tabpfn", "pandas", "numpy", "scipy", "pydantic")
TELLS = f"""
import sys
from finetune_tabpfn.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as ended:
    status = ended.code
print(sorted({{*{SLOW}}} & {{*sys.modules}}), status or 0)
"""


def ended(call, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return stop.value.code, call.readouterr()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["fit", "--help"], 0),
        (["run", "--help-all"], 0),
        (["study", "run", "--help"], 0),
        ([], 2),
        (["fit", "a.csv", "--lerning-rate", "1"], 2),
        (["fit", "a.csv", "--max-steps", "many"], 2),
        (["run", "a.yaml", "--set", "finetuning.patience=0"], 2),
        (["run", "no.yaml"], 1),
        (["predict", "no.joblib", "no.csv"], 1),
        (["fit", "no.csv", "--target", "y", "--out", "m.joblib"], 1),
    ],
)
def test_what_takes_time_is_not_imported(arguments, status):
    done = subprocess.run(
        [sys.executable, "-c", TELLS, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"[] {status}"


def test_the_package_is_a_program():
    command = [sys.executable, "-m", "finetune_tabpfn", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == version("finetune-tabpfn")


def test_help_is_short_and_has_the_rest_on_demand(capsys):
    _, said = ended(capsys, "fit", "--help")
    short = " ".join(said.out.split())
    assert "--learning-rate NUMBER|auto|none Peak learning rate of AdamW. [none]" in short
    assert "--ema-decay" not in short
    assert "fit --help-all` shows" in short
    _, said = ended(capsys, "fit", "--help-all")
    full = " ".join(said.out.split())
    assert "--ema-decay NUMBER" in full
    assert "--fit-mode fit_preprocessors|fit_with_cache" in full
    assert "None chooses by the size of the base model" in full
    assert "--loggers A,B|progress|jsonl|csv|plot|tensorboard|wandb|mlflow|none" in full
    assert "VALUE" not in full
    assert all(option.flag in full for option in settings().values())


def test_what_most_people_need_comes_first(capsys):
    _, said = ended(capsys, "fit", "--help")
    wanted = ["DATA", "--target", "--base-model", "--time-limit", "--scoring", "--time-column"]
    places = [said.out.index(f"\n  {word}") for word in wanted]
    assert places == sorted(places)


COMMANDS = parser()._subparsers._group_actions[0].choices


@pytest.mark.parametrize("command", ["prepare", "preview", "fit", "predict", "evaluate"])
def test_commands_share_their_words(command):
    flags = COMMANDS[command]._option_string_actions
    assert {"--out", "--json", "--missing-values"} <= flags.keys()
    assert "DATA" in [action.metavar for action in COMMANDS[command]._actions]
    assert ("--target" in flags) == (command != "predict")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "a.csv", "--target", "y", "--out", "m.csv"], "m.csv must end in .joblib"),
        (
            ["predict", "m.joblib", "a.csv", "--out", "p.txt"],
            "p.txt must end in .csv, .parquet, .json or .jsonl",
        ),
        (["export", "m.joblib", "--out", "m.pt"], "m.pt must end in .safetensors or .ckpt"),
        (["synth", "--out", "table"], "table must end in .csv"),
        (["study", "report", "s", "--out", "r.pdf"], "r.pdf must end in .html"),
        (["fit", "a.csv", "--target", "y", "--out", "m.joblib.bak"], "must end in .joblib"),
        (["predict", "m.joblib", "a.csv", "--out", "p.csv.bak"], "must end in .csv"),
        (["synth", "--save-schema", "s.json"], "s.json must end in .yaml or .yml"),
        (["schema", "--out", "s.yaml"], "s.yaml must end in .json"),
    ],
)
def test_a_wrong_ending_is_wrong_usage(arguments, message, capsys):
    status, said = ended(capsys, *arguments)
    assert status == 2
    assert message in said.err


def test_a_table_may_be_compressed():
    found = parser().parse_args(["predict", "m.joblib", "a.csv", "--out", "p.csv.gz"])
    assert found.out.name == "p.csv.gz"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "a.csv", "--target", "y", "--out", "{}/folder.joblib"], "is a folder; the name"),
        (["fit", "a.csv", "--target", "y", "--out", "{}/file/m.joblib"], "is not a folder that"),
        (["prepare", "a.csv", "--target", "y", "--out", "{}/file"], "is a file; the name of a"),
        (["preview", "a.csv", "--target", "y", "--out", "{}"], "is a folder; the name of a file"),
    ],
)
def test_what_cannot_be_written_is_wrong_usage(arguments, message, tmp_path, capsys):
    (tmp_path / "folder.joblib").mkdir()
    (tmp_path / "file").write_text("")
    status, said = ended(capsys, *(argument.format(tmp_path) for argument in arguments))
    assert status == 2
    assert message in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-steps", "many"], "--max-steps: must be a whole number from 0, not 'many'"),
        (["--max-steps", "-1"], "must be a whole number from 0, not '-1'"),
        (["--max-steps", "1.5"], "must be a whole number from 0, not '1.5'"),
        (["--learning-rate", "2"], "must be a number above 0 and below 1 or 'auto' or none"),
        (["--learning-rate", "nan"], "not 'nan'"),
        (["--tuning", "lorra"], "or 'norm', not 'lorra'; did you mean lora?"),
        (["--balanced-contexts", "yes"], "must be true or false, not 'yes'"),
        (["--loggers", "5"], "must be a list or text or none, not '5'"),
        (["--time-limit", "none", "--patience", "0"], "--patience: must be a whole number from 1"),
    ],
)
def test_a_wrong_value_is_wrong_usage(arguments, message, capsys):
    status, said = ended(capsys, "fit", "a.csv", "--target", "y", "--out", "m.joblib", *arguments)
    assert status == 2
    assert message in said.err


def test_every_default_is_a_value_that_can_be_typed():
    some = [*settings().values(), *settings_of_forecasts().values(), *settings_of_tables().values()]
    for option in [*some, *(one for keys in settings_of_runs().values() for one in keys.values())]:
        if not option.is_required:
            assert checked(option, as_typed(option.default)) == option.default, option.name


def test_old_spellings_of_a_run(capsys):
    found = parser().parse_args(["run", "r.yaml", "--path", "a.csv", "--folder", "runs"])
    assert (found.path, found.folder) == ("a.csv", "runs")
    assert found == parser().parse_args(["run", "r.yaml", "--data", "a.csv", "--out", "runs"])
    assert "--path" not in ended(capsys, "run", "--help-all")[1].out


def test_old_spellings_of_a_preview(tmp_path, capsys):
    old = ["--data-path", "a.csv", "--output-format", "json", "--output-file", "x.json"]
    found = parser().parse_args(["preview", *old, "--target", "y"])
    assert (str(found.data), found.output_format, str(found.out)) == ("a.csv", "json", "x.json")
    assert "--data-path" not in ended(capsys, "preview", "--help-all")[1].out
    found = parser().parse_args(["study", "run", "s", "--train=a.csv", "--target", "y"])
    assert (str(found.folder), str(found.data)) == ("s", "a.csv")


def test_what_was_an_option_is_put_last():
    words = ["--train", "t.csv", "folder", "--quiet"]
    assert list(positional_last(words, ["--train"])) == ["folder", "--quiet", "t.csv"]
    assert list(positional_last(words, [])) == words


def test_a_preview_takes_as_many_rows_as_its_function():
    assert SAMPLE_SIZE == _preview.SAMPLE_SIZE


def completions(line, folder):
    """Return what a shell is told when the tab key is pressed at the end of a line."""
    pytest.importorskip("argcomplete")
    answer = folder / "answer"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    program = [sys.executable, "-m", "finetune_tabpfn"]
    subprocess.run(program, env=environment, cwd=folder, check=True)
    return [word.strip() for word in answer.read_text().split("\n")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("finetune-tabpfn pre", ["predict", "prepare", "preview"]),
        ("finetune-tabpfn fit --learning-r", ["--learning-rate"]),
        ("finetune-tabpfn fit --tuning l", ["last_layers", "lora"]),
        ("finetune-tabpfn fit --resume ", ["auto", "false", "true"]),
        ("finetune-tabpfn fit a.csv --target s", ["sales", "shop"]),
    ],
)
def test_a_shell_completes(line, words, tmp_path):
    (tmp_path / "a.csv").write_text("shop,sales,day\n1,2,3\n")
    assert sorted(completions(line, tmp_path)) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_has_to_know_is_printed(shell, capsys):
    pytest.importorskip("argcomplete")
    assert main(["completion", shell]) == 0
    assert "finetune-tabpfn" in capsys.readouterr().out

"""``finetune-tabpfn synth``: write a synthetic table."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from finetune_tabpfn.cli._options import Commands
from finetune_tabpfn.data._io import read_table, write_table
from finetune_tabpfn.runs._options import add_parameters, chosen_parameters
from finetune_tabpfn.synthetic import Schema, make_table, schema_of, table_from_schema
from finetune_tabpfn.utils._files import save_whole


def add(commands: Commands) -> None:
    """Add the command."""
    synth = commands.add_parser(
        "synth",
        help="write a synthetic table",
        usage="finetune-tabpfn synth --out FILE [options]",
        description="Write a synthetic table: from the parameters below, from a schema, or like "
        "a real table. With --schema and --like only --n-rows and --random-state apply.",
    )
    synth.add_argument("--out", type=Path, help=".csv, .parquet, .json or .jsonl")
    source = synth.add_mutually_exclusive_group()
    source.add_argument("--schema", type=Path, metavar="FILE", help="YAML, see docs/synthetic.md")
    source.add_argument("--like", type=Path, metavar="DATA", help="file of a real table")
    like = synth.add_argument_group("with --like")
    like.add_argument("--target", help="name of the column to predict")
    like.add_argument("--min-count", type=int, help="rows behind every number in the schema [10]")
    like.add_argument("--save-schema", type=Path, metavar="FILE", help="YAML to edit or share")
    add_parameters(synth, make_table, "parameters of the table")
    synth.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write a synthetic table, or the schema of a real one, or both."""
    if not (arguments.out or arguments.save_schema):
        raise ValueError("synth needs --out for a table, or --like and --save-schema for a schema.")
    schema = _schema(arguments)
    if arguments.save_schema and schema:
        save_whole(arguments.save_schema, schema.to_yaml)
        print(f"schema of {len(schema.columns)} columns, saved {arguments.save_schema}")
    if not arguments.out:
        return
    chosen = chosen_parameters(arguments, make_table)
    if schema:
        X, y = table_from_schema(schema, chosen["n_rows"], chosen["random_state"])
    else:
        X, y = make_table(**chosen)
    write_table(pd.concat([X, y], axis=1), arguments.out)
    target = "no target" if y is None else f"target {y.name!r}"
    print(f"{len(X)} rows, {X.shape[1]} columns, {target}, saved {arguments.out}")


def _schema(arguments: argparse.Namespace) -> Schema | None:
    """Return the schema to draw from; None for `make_table`."""
    names = ("target", "min_count", "save_schema")
    _refuse(arguments, {} if arguments.like else dict.fromkeys(names), "needs --like")
    if not (arguments.schema or arguments.like):
        return None
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(make_table).parameters.items()
    }
    del defaults["n_rows"], defaults["random_state"]
    _refuse(arguments, defaults, "does not go with --schema or --like")
    if arguments.schema:
        return Schema.from_yaml(arguments.schema)
    min_count = {} if arguments.min_count is None else {"min_count": arguments.min_count}
    return schema_of(read_table(arguments.like), arguments.target, **min_count)


def _refuse(arguments: argparse.Namespace, defaults: Mapping[str, Any], why: str) -> None:
    """Raise for arguments that are not at their default."""
    for name, default in defaults.items():
        if getattr(arguments, name) != default:
            raise ValueError(f"--{name.replace('_', '-')} {why}.")

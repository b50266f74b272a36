"""``finetune-tabpfn synth``: write a synthetic table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd

from finetune_tabpfn.cli import _pipes
from finetune_tabpfn.cli._options import answer
from finetune_tabpfn.data._io import read_table
from finetune_tabpfn.runs._options import chosen_parameters, settings_of_tables
from finetune_tabpfn.synthetic import Schema, make_table, schema_of, table_from_schema
from finetune_tabpfn.utils._files import save_whole


def run(arguments: argparse.Namespace) -> None:
    """Write a synthetic table, or the schema of a real one, or both."""
    if not (arguments.out or arguments.save_schema):
        raise ValueError("synth needs --out for a table, or --like and --save-schema for a schema.")
    schema = _schema(arguments)
    if arguments.save_schema and schema:
        save_whole(arguments.save_schema, schema.to_yaml)
        said = f"schema of {len(schema.columns)} columns, saved {arguments.save_schema}"
        if arguments.out:  # whose answer is that of the table
            print(said, file=sys.stderr if arguments.json or str(arguments.out) == "-" else None)
        else:
            answer(arguments, said, {"columns": len(schema.columns), "path": arguments.save_schema})
    if not arguments.out:
        return
    chosen = chosen_parameters(arguments, settings_of_tables())
    if schema:
        X, y = table_from_schema(schema, chosen["n_rows"], chosen["random_state"])
    else:
        X, y = make_table(**chosen)
    target = "no target" if y is None else f"target {y.name!r}"
    said = f"{len(X)} rows, {X.shape[1]} columns, {target}"
    _pipes.answer_table(arguments, pd.concat([X, y], axis=1), said)


def _schema(arguments: argparse.Namespace) -> Schema | None:
    """Return the schema to draw from; None for `make_table`."""
    names = ("target", "min_count", "save_schema")
    _refuse(arguments, {} if arguments.like else dict.fromkeys(names), "needs --like")
    if not (arguments.schema or arguments.like):
        return None
    defaults = {name: option.default for name, option in settings_of_tables().items()}
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

"""Seeded synthetic tables: from parameters, from a schema, or like a real table."""

from finetune_tabpfn.synthetic._derive import schema_of
from finetune_tabpfn.synthetic._sampling import table_from_schema
from finetune_tabpfn.synthetic._schema import Schema
from finetune_tabpfn.synthetic._tables import make_table

__all__ = ["Schema", "make_table", "schema_of", "table_from_schema"]

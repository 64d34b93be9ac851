"""Asks the lake what compare.sql asks, with DuckDB, and compares the answers with the database's, a line a table.

usage: psql -At -f compare.sql | compare.py
"""

import json
import sys
from pathlib import Path

import duckdb

PUBLIC = "https://contoso.dfs.core.windows.net/exports/"


def read(entity):
    """A table of model.json as DuckDB's view, all columns as text."""
    columns = {attribute["name"]: "VARCHAR" for attribute in entity["attributes"]}
    files = [partition["location"].replace(PUBLIC, "lake/") for partition in entity["partitions"]]
    rows = duckdb.read_csv(files, header=False, columns=columns, quotechar='"', escapechar='"', allow_quoted_nulls=False)
    rows.create_view(entity["name"])


for entity in json.loads(Path("lake/bank/model.json").read_text(encoding="utf-8"))["entities"]:
    read(entity)

same = True
statements = Path("compare.sql").read_text().split("\n", 1)[1].strip().rstrip(";").split(";\n")
for line, statement in zip(sys.stdin, statements, strict=True):
    table, count, digest = line.rstrip("\n").split("|")
    in_lake = duckdb.execute(statement).fetchone()
    agrees = (table, int(count), digest) == in_lake
    print(f"{table}: {count} rows in PostgreSQL, {in_lake[1]} in the lake, {'the same' if agrees else 'DIFFERENT'}")
    same &= agrees
sys.exit(not same)

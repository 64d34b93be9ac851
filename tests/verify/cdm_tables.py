"""Reads the tables of a Common Data Model folder with three readers that are not ours, and compares what they find.

DuckDB, Polars and PyArrow read every partition that model.json lists, all columns as text, and must find the same cells,
with null and the empty string apart. Prints {entity: {"columns": […], "rows": [[…]]}}, rows in the order of partitions and
files; ends with code 1 and the partition's name where something is wrong.

usage: cdm_tables.py FOLDER PREFIX

FOLDER has model.json; PREFIX is the URL that stands for it in the partitions' locations.
"""

import argparse
import json
import sys
from pathlib import Path
from urllib.parse import unquote

import duckdb
import polars as pl
import pyarrow.csv as pa_csv


class Wrong(Exception):
    """What is wrong with a folder."""


def by_duckdb(path, columns):
    """Rows as tuples. Names do not matter, so that they need no quoting."""
    types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(columns)))
    query = f"""
        SELECT * FROM read_csv(?, auto_detect = false, header = false, delim = ',', quote = '"', escape = '"', new_line = '\\n',
            allow_quoted_nulls = false, strict_mode = true, parallel = false, columns = {{{types}}})
    """
    return duckdb.execute(query, [str(path)]).fetchall()


def by_polars(path, columns):
    return pl.read_csv(path, has_header=False, new_columns=columns, infer_schema=False).rows()


def by_pyarrow(path, columns):
    table = pa_csv.read_csv(
        path,
        read_options=pa_csv.ReadOptions(column_names=columns, block_size=max(1 << 20, path.stat().st_size)),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, "string"),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
    return list(zip(*(table.column(column).to_pylist() for column in columns), strict=True))


def location_below(location, prefix):
    """The path of a partition's file, below the folder that `prefix` stands for."""
    if not location.startswith(prefix):
        raise Wrong(f"location `{location}` is not below `{prefix}`")
    return unquote(location[len(prefix) :])


def rows_of(path, columns):
    if path.stat().st_size == 0:
        raise Wrong("the file is empty, which Polars and PyArrow refuse")
    expected = by_duckdb(path, columns)
    for reader in (by_polars, by_pyarrow):
        found = reader(path, columns)
        if len(found) != len(expected):
            raise Wrong(f"{reader.__name__} finds {len(found)} rows, DuckDB {len(expected)}")
        for number, (one, other) in enumerate(zip(found, expected), start=1):
            for column, left, right in zip(columns, one, other, strict=True):
                if left != right:
                    raise Wrong(f"row {number}, `{column}`: {reader.__name__} finds {left!r}, DuckDB {right!r}")
    return expected


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("prefix")
    arguments = parser.parse_args()

    prefix = arguments.prefix.rstrip("/") + "/"
    model = json.loads((arguments.folder / "model.json").read_text(encoding="utf-8"))
    tables = {}
    for entity in model["entities"]:
        columns = [attribute["name"] for attribute in entity["attributes"]]
        rows = []
        for partition in entity.get("partitions", []):
            try:
                path = arguments.folder / location_below(partition["location"], prefix)
                rows += rows_of(path, columns)
            except Exception as error:
                sys.exit(f"{entity['name']}, partition {partition['name']}: {error}")
        tables[entity["name"]] = {"columns": columns, "rows": rows}
    json.dump(tables, sys.stdout)


if __name__ == "__main__":
    main()

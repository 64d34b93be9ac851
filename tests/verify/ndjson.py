"""Reads exported NDJSON with four readers that are not ours, and compares what they find.

Strict JSON a line, DuckDB, Polars and PyArrow must agree, file by file, on how often each value of one member occurs. Prints
files and lines as JSON; ends with code 1 and the file's name where something is wrong.

usage: ndjson.py [--member name] [--lines EXPECTED] FILE-OR-FOLDER…
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.json as pa_json


class Wrong(Exception):
    """What is wrong with a file."""


def refuse_constant(text):
    raise Wrong(f"`{text}` is not JSON")


def by_strict_json(path, member):
    data = path.read_bytes()
    if not data.endswith(b"\n"):
        raise Wrong("the last line is not terminated, or there is none")
    counts = Counter()
    for number, line in enumerate(data[:-1].split(b"\n"), start=1):
        try:
            # The strict codec refuses a byte order mark too, as JSON does.
            value = json.loads(line.decode("utf-8"), parse_constant=refuse_constant)
        except ValueError as error:
            raise Wrong(f"line {number}: {error}") from error
        if line != line.strip() or not isinstance(value, dict):
            raise Wrong(f"line {number} is not an object and nothing else")
        counts[value.get(member)] += 1
    return counts


def by_duckdb(path, member):
    query = f"SELECT {member}, count(*) FROM read_json(?, format = 'newline_delimited', columns = {{{member}: 'VARCHAR'}}) GROUP BY 1"
    return Counter(dict(duckdb.execute(query, [str(path)]).fetchall()))


def by_polars(path, member):
    return Counter(pl.read_ndjson(path, schema={member: pl.String})[member].to_list())


def by_pyarrow(path, member):
    options = pa_json.ParseOptions(explicit_schema=pa.schema([(member, pa.string())]), unexpected_field_behavior="ignore")
    return Counter(pa_json.read_json(path, parse_options=options)[member].to_pylist())


def files_of(path):
    """The users' files in a folder: what begins with `_` or `.` is the lake's own."""
    if path.is_file():
        return [path]
    inside = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in inside if not any(part[0] in "._" for part in file.relative_to(path).parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", type=Path, nargs="+", metavar="FILE-OR-FOLDER")
    parser.add_argument("--member", default="name", help="the member whose text values are counted")
    parser.add_argument("--lines", type=int, help="how many lines there must be in all")
    arguments = parser.parse_args()

    files = [file for path in arguments.paths for file in files_of(path)]
    total = Counter()
    for file in files:
        try:
            expected = by_strict_json(file, arguments.member)
            for reader in (by_duckdb, by_polars, by_pyarrow):
                found = reader(file, arguments.member)
                if found != expected:
                    raise Wrong(f"{reader.__name__} finds {dict(found)}, strict JSON {dict(expected)}")
        except Exception as error:
            sys.exit(f"{file}: {error}")
        total += expected
    if arguments.lines is not None and total.total() != arguments.lines:
        sys.exit(f"{total.total()} lines in {len(files)} files, {arguments.lines} were expected")
    print(json.dumps({"files": len(files), "lines": total.total()}))


if __name__ == "__main__":
    main()

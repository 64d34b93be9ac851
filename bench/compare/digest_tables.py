"""What a reader of model.json found: the newest version in each model that it saw, and what was in the last one.

SEEN has a line a model: {"files": [paths below LAKE]}. Prints {"newest": [version a model], "rows": …, "digest": …}; the digest
is that of all cells but the times of writing, and does not depend on the order of rows.

usage: digest_tables.py LAKE SEEN
"""

import json
import sys
from pathlib import Path

import duckdb

lake, seen = map(Path, sys.argv[1:])
# As the last model says: the job adds no column.
names = [a["name"] for a in json.loads((lake / "bank" / "model.json").read_text(encoding="utf-8"))["entities"][0]["attributes"]]
columns = {name: "VARCHAR" for name in names}


def read(files):
    paths = [str(lake / file) for file in files]
    return duckdb.read_csv(paths, header=False, columns=columns, quotechar='"', escapechar='"', allow_quoted_nulls=False)


models = [json.loads(line)["files"] for line in seen.read_text().splitlines()]
newest = {}
for file in {file for files in models for file in files}:
    newest[file] = read([file]).aggregate("max(versionnumber::BIGINT)").fetchone()[0]
cells = ", ".join(f'"{name}"' for name in names if not name.startswith("Sink"))
rows, digest = read(models[-1]).aggregate(f"count(*), bit_xor(hash({cells}))").fetchone()
print(json.dumps({"newest": [max(newest[file] for file in files) for files in models], "rows": rows, "digest": digest}))

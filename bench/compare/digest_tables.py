"""What a reader of model.json found: the newest version in each model that it saw, and what was in the last one.

SEEN has a line a model: {"files": [paths below LAKE]}. Prints {"newest": [version a model], "rows": …, "digest": …}; the digest
is that of all cells but the times of writing and `IsDelete`, and does not depend on the order of rows.

usage: digest_tables.py LAKE SEEN
"""

import json
import sys
from pathlib import Path

import duckdb

lake, seen = map(Path, sys.argv[1:])
# As the last model says: the job adds no column.
names = [a["name"] for a in json.loads((lake / "bank" / "model.json").read_text(encoding="utf-8"))["entities"][0]["attributes"]]
columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)


def ask(what, files):
    table = f"""read_csv(?, auto_detect = false, header = false, quote = '"', escape = '"', columns = {{{columns}}})"""
    return duckdb.execute(f"SELECT {what} FROM {table}", [[str(lake / file) for file in files]]).fetchone()


models = [json.loads(line)["files"] for line in seen.read_text().splitlines()]
newest = {}
for file in {file for files in models for file in files}:
    newest[file] = ask("max(versionnumber::BIGINT)", [file])[0]
cells = ", ".join(f'"{name}"' for name in names if not name.startswith("Sink") and name != "IsDelete")
rows, digest = ask(f"count(*), bit_xor(hash({cells}))", models[-1])
print(json.dumps({"newest": [max(newest[file] for file in files) for files in models], "rows": rows, "digest": digest}))

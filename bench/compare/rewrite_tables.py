"""The job in DuckDB, on all cores: the table in memory, and the CSV files of changed months written anew every few seconds.

Reads FOLDER's 000.ndjson, the rows, and writes a file a month and a model.json that lists them. With --every, it then follows
001.ndjson: all that came since is one batch, applied by a handful of statements. Files get new names and model.json is
replaced at once, so that readers are as well off as Lakeport's; nothing is synced, and after a crash all begins anew.

usage: rewrite_tables.py [--every SECONDS] FOLDER LAKE
"""

import argparse
import json
import time
from datetime import datetime, timezone
from pathlib import Path

import duckdb

PUBLIC = "https://contoso.dfs.core.windows.net/exports/"
COLUMNS = {
    "owner": "VARCHAR",
    "email": "VARCHAR",
    "city": "VARCHAR",
    "note": "VARCHAR",
    "balance": "BIGINT",
    "visits": "BIGINT",
    "active": "BOOLEAN",
    "visited_at": "VARCHAR",
    "created_at": "VARCHAR",
}
QUOTED = ["Id", "SinkCreatedOn", "SinkModifiedOn", *(name for name, of in COLUMNS.items() if of == "VARCHAR")]
BODY = ", ".join(f"{name} {of}" for name, of in COLUMNS.items())
NAMES = ", ".join(COLUMNS)
CELLS = NAMES.replace("active", "CASE WHEN active THEN 'True' WHEN NOT active THEN 'False' END")


class Table:
    def __init__(self, lake):
        self.root = lake / "bank"
        self.folder = self.root / "accounts" / "Snapshot"
        self.folder.mkdir(parents=True)
        self.files = {}
        self.written = 0
        self.db = duckdb.connect()
        self.db.execute(f"""
            CREATE TABLE rows (Id VARCHAR, SinkCreatedOn VARCHAR, SinkModifiedOn VARCHAR, {BODY}, versionnumber BIGINT, month VARCHAR)
        """)

    def apply(self, path):
        """One batch of changes; answers with the months that it changed."""
        now = datetime.now(timezone.utc).isoformat()
        self.db.execute(f"""
            CREATE OR REPLACE TEMP TABLE batch AS SELECT operation, key, version, unnest(body) FROM read_json(
                '{path}', format = 'newline_delimited',
                columns = {{operation: 'VARCHAR', key: 'VARCHAR', version: 'BIGINT', body: 'STRUCT({BODY})'}}
            )
        """)
        self.db.execute(f"""
            INSERT INTO rows SELECT key, '{now}', '{now}', {NAMES}, version, substr(created_at, 1, 7)
            FROM batch WHERE operation = 'create'
        """)
        newest = ", ".join(f"arg_max({name}, version) AS {name}" for name in COLUMNS)
        kept = ", ".join(f"{name} = coalesce(newest.{name}, rows.{name})" for name in COLUMNS)
        self.db.execute(f"""
            UPDATE rows SET {kept}, versionnumber = newest.version, SinkModifiedOn = '{now}'
            FROM (SELECT key, max(version) AS version, {newest} FROM batch WHERE operation = 'patch' GROUP BY key) AS newest
            WHERE rows.Id = newest.key
        """)
        months = self.db.execute("SELECT DISTINCT month FROM rows WHERE Id IN (SELECT key FROM batch)").fetchall()
        self.db.execute("DELETE FROM rows WHERE Id IN (SELECT key FROM batch WHERE operation = 'delete')")
        return [month for (month,) in months]

    def write(self, months):
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        self.written += 1
        for month in months:
            path = self.folder / f"{month}_{self.written:05}.csv"
            self.db.execute(f"""
                COPY (
                    SELECT Id, SinkCreatedOn, SinkModifiedOn, {CELLS}, versionnumber, NULL AS IsDelete
                    FROM rows WHERE month = '{month}'
                ) TO '{path}' (FORMAT csv, HEADER false, FORCE_QUOTE ({", ".join(QUOTED)}))
            """)
            self.files[month] = {"name": month, "refreshTime": now, "location": PUBLIC + str(path.relative_to(self.root.parent))}
        names = ["Id", "SinkCreatedOn", "SinkModifiedOn", *COLUMNS, "versionnumber", "IsDelete"]
        entity = {"name": "accounts", "attributes": [{"name": name} for name in names], "partitions": list(self.files.values())}
        part = self.root / "model.part"
        part.write_text(json.dumps({"name": "bank", "modifiedTime": now, "entities": [entity]}))
        part.replace(self.root / "model.json")


def follow(table, source, every):
    taken = source.with_suffix(".batch")
    rest = b""
    with source.open("rb") as lines:
        while True:
            due = time.monotonic() + every
            content = rest + lines.read()
            end = content.rfind(b"\n") + 1
            rest = content[end:]
            if end:
                taken.write_bytes(content[:end])
                table.write(table.apply(taken))
            time.sleep(max(0.0, due - time.monotonic()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("lake", type=Path)
    parser.add_argument("--every", type=float, help="seconds between two writings; without it, only the rows are written")
    arguments = parser.parse_args()

    table = Table(arguments.lake)
    table.write(table.apply(arguments.folder / "000.ndjson"))
    if arguments.every:
        try:
            follow(table, arguments.folder / "001.ndjson", arguments.every)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()

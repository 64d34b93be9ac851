"""The job in DuckDB, on all cores: one COPY, kept lines written byte for byte (a CSV of one column, without quotes).

Of six ways that were tried this was the fastest; reading typed columns and writing JSON anew took half as long again.

usage: duckdb_sql.py INPUT FOLDER
"""

import json
import sys
from pathlib import Path

import duckdb

source, folder = sys.argv[1:]
kept = json.loads((Path(__file__).parent.parent / "kept-names.json").read_text())
names = ", ".join(f"'{name}'" for name in kept)

duckdb.connect().execute(rf"""
    COPY (
        SELECT json, substr(json->>'signalTime', 1, 13) AS hour
        FROM read_json_objects('{source}', format = 'newline_delimited')
        WHERE json->>'name' IN ({names})
    ) TO '{folder}' (
        FORMAT csv, HEADER false, DELIMITER '{chr(1)}', QUOTE '', ESCAPE '', PARTITION_BY (hour), FILE_EXTENSION 'ndjson',
        OVERWRITE_OR_IGNORE
    )
""")

"""What is in a folder of Avro files, whatever their names, blocks, codecs and order: a count and a digest.

Two folders with the same answer hold the same multiset of records.

usage: digest_avro.py FOLDER
"""

import json
import sys
from hashlib import blake2b
from pathlib import Path

import fastavro
import orjson

folder = Path(sys.argv[1])
records, total = 0, 0
for path in sorted(folder.rglob("*.avro")):
    # Folders that begin with `_` or `.` are a lake's own: the commit log.
    if path.relative_to(folder).parts[0][0] in "._":
        continue
    with path.open("rb", buffering=1 << 20) as file:
        for record in fastavro.reader(file):
            text = orjson.dumps(record, option=orjson.OPT_SORT_KEYS, default=bytes.hex)
            records += 1
            total += int.from_bytes(blake2b(text, digest_size=16).digest(), "big")
print(json.dumps({"records": records, "digest": f"{total % (1 << 128):032x}"}))

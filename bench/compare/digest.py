"""What is in a folder of NDJSON files, whatever their names and the order of their lines: a count and a digest an hour.

Two folders with the same answer hold the same multiset of lines in every hour. The hour is read from a file's path.

usage: digest.py FOLDER
"""

import json
import re
import sys
from collections import Counter
from hashlib import blake2b
from pathlib import Path

HOUR = re.compile(r"(\d{4})\D(\d\d)\D(\d\d)\D(\d\d)")

folder = Path(sys.argv[1])
lines, sums = Counter(), Counter()
for path in sorted(folder.rglob("*.*")):
    inside = path.relative_to(folder)
    # Folders that begin with `_` or `.` are a lake's own: the commit log.
    if not path.is_file() or inside.parts[0][0] in "._":
        continue
    hour = "-".join(HOUR.search(str(inside)).groups())
    with path.open("rb", buffering=1 << 20) as file:
        for line in file:
            lines[hour] += 1
            sums[hour] += int.from_bytes(blake2b(line, digest_size=16).digest(), "big")
print(json.dumps({hour: [lines[hour], f"{sums[hour] % (1 << 128):032x}"] for hour in sorted(lines)}, indent=2))

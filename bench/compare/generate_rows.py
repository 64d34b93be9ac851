"""Generates the rows of a table and their changes: what tables are measured with, the same bytes for the same counts everywhere.

Without --changes it is COUNT `create` records, created evenly over the months of 2025; with it, that many changes of those
rows: of twenty, one creates a row (in January 2026), one deletes one, and the others are patches of two columns. The newer a row,
the more often it changes. Versions count on from the rows'.

usage: generate_rows.py [--changes CHANGES] COUNT FILE
"""

import argparse
import random
from datetime import datetime, timedelta

YEAR = datetime(2025, 1, 1)
CITIES = ["New York", "Boston", "Chicago", "Seattle", "San Francisco", "Austin"]
NOTE = 'called twice, "will pay"; prefers e-mail, evenings'


def record(operation, key, version, body):
    time = f"2026-03-04T06:{version // 60_000_000 % 60:02}:{version // 1_000_000 % 60:02}.{version % 1_000_000:06}Z"
    return (
        f'{{"operation":"{operation}","kind":"accounts","key":"{key}","version":{version},"time":"{time}"'
        f"{f',{chr(34)}body{chr(34)}:{body}' if body else ''}}}\n"
    )


def create(key, version, created):
    note = NOTE.replace('"', '\\"')
    body = (
        f'{{"owner":"Owner {key}","email":"owner.{key}@example.com","city":"{CITIES[key % 6]}","note":"{note}",'
        f'"balance":{key * 7919 % 1_000_003},"visits":{key % 40},"active":{"true" if key % 7 else "false"},'
        f'"visited_at":"2026-02-{1 + key % 28:02}T22:{key % 60:02}:47.156Z","created_at":"{created}"}}'
    )
    return record("create", key, version, body)


def rows(count):
    for key in range(count):
        created = YEAR + timedelta(seconds=key * 365 * 86_400 // count)
        yield create(key, key + 1, created.isoformat() + "Z")


def changes(count, number):
    chance = random.Random("changes")
    gone, total = set(), count
    for version in range(count + 1, count + 1 + number):
        what = chance.randrange(20)
        if what == 0:
            yield create(total, version, f"2026-01-{1 + version % 31:02}T12:00:00Z")
            total += 1
            continue
        key = None
        while key is None or key in gone:
            key = int(total * (1 - chance.random() ** 3))
        if what == 1:
            gone.add(key)
            yield record("delete", key, version, None)
        else:
            time = f"2026-03-04T07:{version % 60:02}:{version // 60 % 60:02}.{version % 1000:03}Z"
            yield record("patch", key, version, f'{{"balance":{chance.randrange(1_000_003)},"visited_at":"{time}"}}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("file")
    parser.add_argument("--changes", type=int, help="write so many changes of the rows, instead of the rows")
    arguments = parser.parse_args()

    lines = rows(arguments.count) if arguments.changes is None else changes(arguments.count, arguments.changes)
    with open(arguments.file, "w", encoding="ascii", buffering=1 << 20) as file:
        file.writelines(lines)


if __name__ == "__main__":
    main()

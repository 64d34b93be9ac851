"""Follows model.json as a reader would, again and again, while someone writes.

Each time, every file that it lists must be there and whole: rows of the width that the attributes say, the last one
terminated. A file never changes; those of the model before are still there; `modifiedTime`, each table's newest
`refreshTime` and the `versionnumber` of every row never go back. Prints counts as JSON; ends with code 1 and what is wrong at
the first violation.

usage: cdm_loop.py FOLDER PREFIX SECONDS

FOLDER has model.json, or will have it; PREFIX is the URL that stands for it in the partitions' locations.
"""

import argparse
import csv
import hashlib
import io
import json
import sys
import time
from datetime import datetime
from pathlib import Path

from cdm_tables import Wrong, location_below

PAUSE = 0.02
# Values may be as long as records are.
csv.field_size_limit(1 << 30)


def parsed(text):
    return datetime.fromisoformat(text)


class Reader:
    def __init__(self, folder, prefix):
        self.folder, self.prefix = folder, prefix.rstrip("/") + "/"
        # Of each file that was ever listed its size and digest, and the newest version of each of its rows.
        self.files = {}
        self.previous = set()
        self.model, self.modified = None, None
        # By entity.
        self.refreshed, self.versions = {}, {}
        self.reads = self.models = self.rows = 0

    def read(self):
        """One reading of everything that the model lists."""
        text = (self.folder / "model.json").read_bytes()
        model = json.loads(text.decode("utf-8"))
        self.reads += 1
        if text != self.model:
            self.models += 1
            self.model = text
        modified = parsed(model["modifiedTime"])
        if self.modified and modified < self.modified:
            raise Wrong(f"modifiedTime went back from {self.modified} to {modified}")
        self.modified = modified
        for location in self.previous:
            if not self.path(location).exists():
                raise Wrong(f"`{location}` is gone, and the model before listed it")
        self.previous = set()
        for entity in model["entities"]:
            self.read_entity(entity)

    def path(self, location):
        return self.folder / location_below(location, self.prefix)

    def read_entity(self, entity):
        name, partitions = entity["name"], entity.get("partitions", [])
        columns = [attribute["name"] for attribute in entity["attributes"]]
        newest = max((parsed(partition["refreshTime"]) for partition in partitions), default=None)
        if name in self.refreshed and newest and newest < self.refreshed[name]:
            raise Wrong(f"refreshTime of `{name}` went back from {self.refreshed[name]} to {newest}")
        if newest:
            self.refreshed[name] = newest
        versions = {}
        for partition in partitions:
            location = partition["location"]
            if location in self.previous:
                raise Wrong(f"`{location}` is listed twice")
            self.previous.add(location)
            for row, version in self.read_file(location, columns).items():
                versions[row] = max(version, versions.get(row, version))
        before = self.versions.get(name, {})
        for row in versions.keys() & before.keys():
            if versions[row] < before[row]:
                raise Wrong(f"row `{row}` of `{name}` went back from version {before[row]} to {versions[row]}")
        self.versions[name] = versions

    def read_file(self, location, columns):
        path = self.path(location)
        with path.open("rb") as file:
            content = file.read()
        is_now = (len(content), hashlib.blake2b(content).digest())
        if path.stat().st_size != len(content):
            raise Wrong(f"`{location}` changed while it was read")
        if location in self.files:
            was, versions = self.files[location]
            if was != is_now:
                raise Wrong(f"`{location}` is not what it was: {was[0]} bytes before, {is_now[0]} now")
            return versions
        if not content.endswith(b"\n"):
            raise Wrong(f"`{location}` has no row, or ends in the middle of one")
        versions = {}
        key, version = columns.index("Id"), columns.index("versionnumber")
        for number, row in enumerate(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True), start=1):
            if len(row) != len(columns):
                raise Wrong(f"`{location}`, row {number} has {len(row)} columns, expected {len(columns)}")
            is_of = int(row[version] or 0)
            versions[row[key]] = max(is_of, versions.get(row[key], is_of))
            self.rows += 1
        self.files[location] = (is_now, versions)
        return versions


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("prefix")
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()

    reader = Reader(arguments.folder, arguments.prefix)
    end = time.monotonic() + arguments.seconds
    while time.monotonic() < end:
        # Before the first snapshot there is none; afterwards it never goes.
        if reader.reads > 0 or (arguments.folder / "model.json").exists():
            try:
                reader.read()
            except Exception as error:
                sys.exit(f"reading {reader.reads}: {type(error).__name__}: {error}")
        time.sleep(PAUSE)
    if reader.reads == 0:
        sys.exit(f"no model.json in {arguments.folder} after {arguments.seconds} seconds")
    print(json.dumps({"reads": reader.reads, "models": reader.models, "files": len(reader.files), "rows": reader.rows}))


if __name__ == "__main__":
    main()

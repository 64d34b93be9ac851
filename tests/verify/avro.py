"""Reads Avro files with three readers that are not ours, and compares what they find.

fastavro and Apache's strict reader must find the same records, value by value; pandavro must make of a file what pandas
makes of Apache's records. Prints an object a file; ends with code 1 and the file's name where something is wrong.

usage: avro.py [--dump] FILE…
"""

import argparse
import base64
import json
import math
import sys
from datetime import datetime, timezone
from pathlib import Path

# A script's own folder comes first among the modules, where this file would hide Apache's package.
sys.path.pop(0)

import fastavro
import pandas as pd
import pandavro
from avro.datafile import DataFileReader
from avro.io import DatumReader


# Apache's reader leaves UUIDs as text.
fastavro.read.LOGICAL_READERS.pop("string-uuid")


class Wrong(Exception):
    """What is wrong with a file."""


def plain(value):
    """A value as JSON has it: bytes as text where they are UTF-8, else in base64; what JSON does not know, as text."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def exact(value):
    """Text that is the same for the same value: `1`, `1.0` and `true` are three values, and NaN is NaN."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{exact(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(exact, value)) + "]"
    return repr(value)


def in_utc(value):
    """The value with Python's own UTC for Apache's, which equals no other."""
    if isinstance(value, dict):
        return {key: in_utc(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(in_utc, value))
    return value.astimezone(timezone.utc) if isinstance(value, datetime) and value.tzinfo is not None else value


def by_apache(path):
    with DataFileReader(path.open("rb"), DatumReader()) as reader:
        return reader.codec, list(map(in_utc, reader))


def by_fastavro(path):
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        return reader.codec, list(reader)


def compare(path):
    """The codec and records of a file on which all readers agree."""
    codec, records = by_apache(path)
    fast_codec, fast_records = by_fastavro(path)
    if (fast_codec, len(fast_records)) != (codec, len(records)):
        by_fast = f"{len(fast_records)} records in {fast_codec}"
        raise Wrong(f"fastavro finds {by_fast}, Apache's reader {len(records)} records in {codec}")
    for number, (found, expected) in enumerate(zip(fast_records, records)):
        if exact(found) != exact(expected):
            raise Wrong(f"record {number}: fastavro finds {exact(found)}, Apache's reader {exact(expected)}")
    try:
        pd.testing.assert_frame_equal(pandavro.read_avro(path), pd.DataFrame.from_records(records))
    except AssertionError as error:
        raise Wrong(f"pandavro finds other values than Apache's reader: {error}") from error
    return codec, records


def id_of(record):
    """What a record is about: the device of a message, else its own `id`; none where it has neither."""
    properties = record.get("SystemProperties")
    return plain(properties.get("connectionDeviceId") if properties is not None else record.get("id"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--dump", action="store_true", help="print the records too, in `values`")
    arguments = parser.parse_args()

    for file in arguments.files:
        try:
            codec, records = compare(file)
        except Exception as error:
            sys.exit(f"{file}: {type(error).__name__}: {error}")
        found = {"file": str(file), "codec": codec, "records": len(records), "ids": list(map(id_of, records))}
        if arguments.dump:
            found["values"] = plain(records)
        print(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main()

"""The job in plain Python with orjson and fastavro: one thread, IoT Hub's JSON lines to one Avro file, codec null.

usage: avro_fastavro.py INPUT FOLDER
"""

import base64
import sys
from pathlib import Path

import fastavro
import orjson

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
SCHEMA = fastavro.parse_schema(orjson.loads(Path(__file__).with_name("message.avsc").read_bytes()))
BLOCK_BYTES = 64 << 10


def messages(lines):
    for line in lines:
        message = orjson.loads(line)
        body = message["Body"]
        message["Body"] = base64.b64decode(body) if isinstance(body, str) else orjson.dumps(body)
        yield message


with source.open("rb", buffering=1 << 20) as lines, (folder / "00.avro").open("wb", buffering=1 << 20) as out:
    fastavro.writer(out, SCHEMA, messages(lines), codec="null", sync_interval=BLOCK_BYTES)

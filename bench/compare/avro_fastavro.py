"""The job in plain Python with orjson and fastavro: one thread, IoT Hub's JSON lines to one Avro file, codec null.

usage: avro_fastavro.py INPUT FOLDER
"""

import base64
import sys
from pathlib import Path

import fastavro
import orjson

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
SCHEMA = fastavro.parse_schema({
    "type": "record",
    "name": "Message",
    "namespace": "Microsoft.Azure.Devices",
    "fields": [
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {"name": "Properties", "type": {"type": "map", "values": "string"}},
        {"name": "SystemProperties", "type": {"type": "map", "values": "string"}},
        {"name": "Body", "type": ["null", "bytes"]},
    ],
})
BLOCK_BYTES = 64 << 10


def messages(lines):
    for line in lines:
        message = orjson.loads(line)
        body = message["Body"]
        message["Body"] = base64.b64decode(body) if isinstance(body, str) else orjson.dumps(body)
        yield message


with source.open("rb", buffering=1 << 20) as lines, (folder / "00.avro").open("wb", buffering=1 << 20) as out:
    fastavro.writer(out, SCHEMA, messages(lines), codec="null", sync_interval=BLOCK_BYTES)

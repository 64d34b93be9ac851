"""Sends CloudEvents with the Python SDK: python cloudevents_producer.py URL. Prints the IDs that were accepted, a line each."""

import sys
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

ODD = 'plain, 100 %, "quoted", \N{SNOWMAN} and \N{GRINNING FACE}'


def event(number, data, content_type="application/json"):
    attributes = {
        "id": f"python-{number}",
        "source": "/machines/1",
        "type": "com.example.brew",
        "specversion": "1.0",
        "time": datetime(2026, 11, 30, 10, number, tzinfo=timezone.utc),
        "datacontenttype": content_type,
        "subject": ODD,
    }
    return CloudEvent(attributes, data)


def send(message):
    request = urllib.request.Request(sys.argv[1], data=message.body, headers=dict(message.headers), method="POST")
    with urllib.request.urlopen(request) as answer:
        assert answer.status in (200, 202), answer.status


for number, data in enumerate([{"n": 1}, [1, 2], '{"serialised": "already"}', {"text": ODD}]):
    for mode in (to_binary_event, to_structured_event):
        # The second is a repetition of the first.
        send(mode(event(number, data)))
    print(f"python-{number}")
send(to_binary_event(event(9, b"\x00\xff\x01", "application/octet-stream")))
print("python-9")

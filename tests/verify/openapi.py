"""Runs schemathesis, which tries a server against its OpenAPI description: python openapi.py ARGUMENTS."""

import json

import schemathesis
from schemathesis.cli import schemathesis as command


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """Texts as they are; whatever else is made up, in an array: by itself an object would be a line as it should be."""
    match value:
        case bytes():
            return value
        case str():
            return value.encode()
        case _:
            return json.dumps([value], default=str).encode()


command()

"""Checks a model.json against the JSON schema that Microsoft publishes for it. Prints what is wrong; ends with code 1 then.

usage: cdm_schema.py MODEL SCHEMA
"""

import argparse
import json
import sys
from pathlib import Path

from jsonschema import Draft7Validator, FormatChecker


def without_ids(node):
    """The published file gives many nodes the same `$id`, so that references to its definitions lead nowhere."""
    if isinstance(node, dict):
        return {key: without_ids(value) for key, value in node.items() if key != "$id" or not isinstance(value, str)}
    if isinstance(node, list):
        return [without_ids(value) for value in node]
    return node


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("schema", type=Path)
    arguments = parser.parse_args()

    # The schema has a byte order mark; ours must not.
    schema = without_ids(json.loads(arguments.schema.read_text(encoding="utf-8-sig")))
    model = json.loads(arguments.model.read_text(encoding="utf-8"))
    errors = sorted(Draft7Validator(schema, format_checker=FormatChecker()).iter_errors(model), key=str)
    for error in errors:
        print(f"{error.json_path}: {error.message[:200]}", file=sys.stderr)
    sys.exit(bool(errors))


if __name__ == "__main__":
    main()

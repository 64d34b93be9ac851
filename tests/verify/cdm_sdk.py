"""Loads a Common Data Model folder with Microsoft's SDK, and looks for every partition's file.

Prints an object an entity: its name, its attributes with the SDK's types, its partitions. Ends with code 1 where the SDK
reports an error, an entity or a partition is missing, or there is no file at a partition's location.

usage: cdm_sdk.py FOLDER PREFIX

FOLDER has model.json; PREFIX is the URL that stands for it in the partitions' locations.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import unquote

from cdm.enums import CdmStatusLevel
from cdm.objectmodel import CdmCorpusDefinition
from cdm.storage import LocalAdapter


class Folder(LocalAdapter):
    """The folder under the URL that it has for its readers: the SDK refuses locations that belong to no adapter."""

    def __init__(self, folder, prefix):
        super().__init__(str(folder))
        self.prefix = prefix.rstrip("/")

    def create_corpus_path(self, adapter_path):
        if adapter_path and adapter_path.startswith(self.prefix + "/"):
            return unquote(adapter_path[len(self.prefix) :])
        return super().create_corpus_path(adapter_path)


async def load(folder, prefix):
    problems = []

    def report(level, message):
        if level.value >= CdmStatusLevel.ERROR.value:
            problems.append(message)

    corpus = CdmCorpusDefinition()
    corpus.set_event_callback(report, CdmStatusLevel.WARNING)
    corpus.storage.mount("local", Folder(folder.resolve(), prefix))
    corpus.storage.default_namespace = "local"
    manifest = await corpus.fetch_object_async("model.json")
    if manifest is None:
        return [*problems, "the SDK loads no manifest"]
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    listed = {entity["name"]: entity for entity in model["entities"]}
    found = {declaration.entity_name: declaration for declaration in manifest.entities}
    if set(found) != set(listed):
        problems.append(f"entities {sorted(found)}, expected {sorted(listed)}")
    for name, declaration in found.items():
        entity = await corpus.fetch_object_async(declaration.entity_path, manifest)
        attributes = [(attribute.name, attribute.data_format.name) for attribute in entity.attributes]
        expected = [attribute["name"] for attribute in listed[name]["attributes"]]
        if [attribute for attribute, _ in attributes] != expected:
            problems.append(f"`{name}`: attributes {attributes}, expected {expected}")
        partitions = [partition.name for partition in declaration.data_partitions]
        if partitions != [partition["name"] for partition in listed[name].get("partitions", [])]:
            problems.append(f"`{name}`: partitions {partitions}")
        for partition in declaration.data_partitions:
            path = corpus.storage.create_absolute_corpus_path(partition.location, manifest)
            file = corpus.storage.corpus_path_to_adapter_path(path)
            if not file or not Path(file).is_file():
                problems.append(f"`{name}`, partition {partition.name}: no file for `{partition.location}`")
        print(json.dumps({"entity": name, "attributes": attributes, "partitions": partitions}))
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("prefix")
    arguments = parser.parse_args()
    problems = asyncio.run(load(arguments.folder, arguments.prefix))
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()

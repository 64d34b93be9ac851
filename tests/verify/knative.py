"""Reads a service for Knative and its trigger: python knative.py FOLDER.

Prints a JSON object: the arguments with which the service is started, where it is asked whether it is ready, and where the broker
delivers to.
"""

import json
import pathlib
import re
import sys
import tomllib

import yaml

folder = pathlib.Path(sys.argv[1])
configuration = (folder / "lakeport.toml").read_text()
sources = tomllib.loads(configuration)["sources"]


def manifest(file, kind):
    (found,) = yaml.safe_load_all((folder / file).read_text())
    assert found["kind"] == kind and found["apiVersion"].split(".")[1] == "knative", found
    return found


service = manifest("service.yaml", "Service")
assert service["apiVersion"] == "serving.knative.dev/v1", service["apiVersion"]
template = service["spec"]["template"]
scale = template["metadata"]["annotations"]
(source,) = sources.values()
assert int(scale["autoscaling.knative.dev/max-scale"]) == source["partitions"], scale
assert int(scale["autoscaling.knative.dev/min-scale"]) == 0, scale
pod = template["spec"]
(container,) = pod["containers"]
assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
(mount,) = container["volumeMounts"]
command, path, *rest = container["args"]
assert (command, path) == ("serve", mount["mountPath"] + "/lakeport.toml"), container["args"]
assert re.findall(r"env:([A-Z_]+)", configuration) and container["envFrom"][0]["secretRef"]["name"] == "lakeport"
(port,) = container["ports"]
assert port == {"containerPort": 8080}, port

trigger = manifest("trigger.yaml", "Trigger")
assert trigger["apiVersion"] == "eventing.knative.dev/v1", trigger["apiVersion"]
subscriber = trigger["spec"]["subscriber"]
assert subscriber["ref"]["name"] == service["metadata"]["name"] and subscriber["ref"]["kind"] == service["kind"], subscriber
assert subscriber["uri"] == f"/v1/ingest/{next(iter(sources))}", subscriber
waits = int(re.fullmatch(r"PT(\d+)S", trigger["spec"]["delivery"]["timeout"]).group(1))
assert waits < pod["timeoutSeconds"], "the broker waits as long as the service may answer"

# The image: two stages, nobody, a program that carries its plugins.
text = (folder / "Containerfile").read_text().replace("\\\n", " ")
instructions = [line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
assert [name for name, _ in instructions].count("FROM") == 2, instructions
last = dict(instructions[max(at for at, (name, _) in enumerate(instructions) if name == "FROM") :])
assert last["USER"] == "65532" and json.loads(last["ENTRYPOINT"]) == ["/usr/local/bin/lakeport"], last
assert "plugin compile --embed-in target/release/lakeport" in text, text

print(json.dumps({
    "arguments": [command, "lakeport.toml", *rest],
    "ready": container["readinessProbe"]["httpGet"]["path"],
    "uri": subscriber["uri"],
}))

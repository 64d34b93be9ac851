"""Reads what is deployed: python deploy.py FOLDER.

Prints a JSON object: the metrics that queries name, and the commands with configurations that they can be run with.
"""

import json
import pathlib
import re
import shlex
import sys

import yaml

folder = pathlib.Path(sys.argv[1])
METRIC = re.compile(r"\b(?:lakeport|http_server)_[a-z_]+\b")
metrics = set()
commands = []


def runnable(words, configuration):
    """The command's arguments, with a configuration of the test's own and a free port."""
    program, *arguments = words
    assert program == "/usr/bin/lakeport", words
    assert arguments[:2] == ["serve", "/etc/lakeport/lakeport.toml"], words
    arguments[1:2] = ["lakeport.toml", "--listen", "127.0.0.1:0"]
    commands.append({"words": arguments, "configuration": configuration})


SMALL = '[sources.s]\nhttp = true\n[exports.s]\nsource = "s"\n'

# systemd: sections, and keys of which only some may be there several times.
sections = {}
for line in (folder / "systemd/lakeport.service").read_text().splitlines():
    if not line or line.startswith("#"):
        continue
    if line.startswith("["):
        section = sections.setdefault(line.strip("[]"), {})
        continue
    key, value = line.split("=", 1)
    assert key.isalpha() and key not in section, line
    section[key] = value
assert set(sections) == {"Unit", "Service", "Install"}, sections
service = sections["Service"]
assert service["Type"] == "notify" and service["ExecReload"].startswith("/bin/kill -HUP"), service
for key in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateDevices", "RestrictNamespaces", "LockPersonality"):
    assert service[key] == "yes", key
assert service["ProtectSystem"] == "strict" and service["CapabilityBoundingSet"] == "", service
runnable(shlex.split(service["ExecStart"]), SMALL)

# The image: two stages, nobody, no shell.
instructions = []
text = (folder / "container/Containerfile").read_text().replace("\\\n", " ")
for line in text.splitlines():
    if line and not line.startswith("#"):
        instructions.append(line.split(" ", 1))
assert [name for name, _ in instructions].count("FROM") == 2, instructions
last = dict(instructions[max(at for at, (name, _) in enumerate(instructions) if name == "FROM") :])
assert "distroless" in last["FROM"] and last["USER"] == "65532:65532", last
runnable(json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"]), SMALL)
assert "plugin compile --embed-in target/release/lakeport" in text, "the image's program carries no compiled plugins"

# Kubernetes.
manifests = {}
for file in sorted((folder / "kubernetes").glob("*.yaml")):
    for manifest in yaml.safe_load_all(file.read_text()):
        assert manifest["apiVersion"] and manifest["metadata"]["name"] == "lakeport", manifest
        manifests[manifest["kind"]] = manifest
assert set(manifests) == {"ConfigMap", "Service", "StatefulSet", "PodDisruptionBudget", "ServiceMonitor"}, manifests
stateful = manifests["StatefulSet"]["spec"]
pod = stateful["template"]["spec"]
(container,) = pod["containers"]
labels = stateful["selector"]["matchLabels"]
assert stateful["template"]["metadata"]["labels"] == labels == manifests["Service"]["spec"]["selector"]
assert labels == manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
assert labels == manifests["ServiceMonitor"]["spec"]["selector"]["matchLabels"] == manifests["Service"]["metadata"]["labels"]
assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
ports = {port["name"]: port["containerPort"] for port in container["ports"]}
for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
    get = container[probe]["httpGet"]
    assert get["path"] == path and get["port"] in ports, probe
volumes = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]}
assert {mount["name"] for mount in container["volumeMounts"]} == volumes
configuration = manifests["ConfigMap"]["data"]["lakeport.toml"]
assert f'listen = "0.0.0.0:{ports["http"]}"' in configuration and f'metrics = "0.0.0.0:{ports["metrics"]}"' in configuration
assert manifests["ServiceMonitor"]["spec"]["endpoints"][0]["authorization"]["credentials"]["key"] == "metrics-token"
asked = set(re.findall(r"env:([A-Z_]+)", configuration))
assert asked <= {variable["name"] for variable in container["env"]}, asked
seconds = int(re.search(r'stop-within = "(\d+)s"', configuration).group(1))
assert seconds < pod["terminationGracePeriodSeconds"]
# The test has no such store, and reads metrics where it listens.
local = re.sub(r"(?s)\[lakes\.main\].*?\n\n", "", configuration).replace("/var/lib/lakeport/wal", "wal")
local = re.sub(r"(?m)^metrics = .*\n", "", local)
runnable(["/usr/bin/lakeport", *container["args"]], local)

# Prometheus: names once, each with a summary; Grafana: panels beside each other.
rules = [rule for group in yaml.safe_load((folder / "prometheus/alerts.yaml").read_text())["groups"] for rule in group["rules"]]
assert len({rule["alert"] for rule in rules}) == len(rules)
for rule in rules:
    assert rule["annotations"]["summary"].endswith(".") and rule["labels"]["severity"] in ("warning", "critical"), rule
    found = METRIC.findall(rule["expr"])
    assert found, rule
    metrics.update(found)
dashboard = json.loads((folder / "grafana/lakeport.json").read_text())
taken = set()
for panel in dashboard["panels"]:
    place = panel["gridPos"]
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            assert x < 24 and (x, y) not in taken, panel["title"]
            taken.add((x, y))
    for target in panel.get("targets", []):
        found = METRIC.findall(target["expr"])
        assert found and target["expr"].count("(") == target["expr"].count(")"), target
        metrics.update(found)
for variable in dashboard["templating"]["list"]:
    metrics.update(METRIC.findall(json.dumps(variable.get("query"))))
print(json.dumps({"metrics": sorted(metrics), "commands": commands}))

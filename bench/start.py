"""How long a function app waits for its first invocation, from the start of the process to the answer.

    .tools/py/bin/python bench/start.py PROGRAM [ROUNDS]

PROGRAM is `lakeport`. Three ways take turns: its plugins are compiled in the process (an empty cache), they are in the cache, or
the program carries them (`lakeport plugin compile --embed-in`; with an empty cache). The lake is a local folder that does not exist before.
The invocation has one event of an IoT Hub, which is in the lake when it is answered.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """
[lakes.main]
url = "./lake"

[sources.telemetry]
http = true
envelope = "iot-hub"

[exports.telemetry]
source = "telemetry"
path = "{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}"
filters = [{ plugin = "select", kinds = ["*"] }]
"""
BINDING = {"type": "eventHubTrigger", "name": "events", "direction": "in", "cardinality": "many", "eventHubName": "h", "connection": "C"}


def invocation(partition, sequence):
    text = json.dumps
    return text({
        "Data": {"events": text([text({"t": 21.5})])},
        "Metadata": {
            "PartitionContext": {"EventHubName": "h", "ConsumerGroup": "$Default", "PartitionId": str(partition)},
            "SequenceNumberArray": text([sequence]),
            "EnqueuedTimeUtcArray": text(["2026-01-01T00:00:08.225"]),
            "PropertiesArray": "[{}]",
            "SystemPropertiesArray": text([{"iothub-connection-device-id": "d1"}]),
        },
    })


def post(port, body):
    """Sends an invocation, and again until somebody listens."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", "/telemetry", body, {"Content-Type": "application/json", "X-Azure-Functions-InvocationId": "1"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                sys.exit(f"status {answer.status}: {text}")
            return
        except ConnectionRefusedError:
            time.sleep(0.0005)
        finally:
            connection.close()


def measure(program, cache, folder):
    app = Path(tempfile.mkdtemp(dir=folder))
    (app / "telemetry").mkdir()
    (app / "telemetry/function.json").write_text(json.dumps({"bindings": [BINDING]}))
    (app / "host.json").write_text("{}")
    (app / "lakeport.toml").write_text(CONFIG)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "FUNCTIONS_CUSTOMHANDLER_PORT": str(port), "LAKEPORT_CACHE_DIR": str(cache)}
    bodies = [invocation(0, number) for number in range(51)]
    began = time.monotonic()
    process = subprocess.Popen([program, "functions", "lakeport.toml"], cwd=app, env=environment, stderr=subprocess.DEVNULL)
    post(port, bodies[0])
    first = time.monotonic() - began
    warm = []
    for body in bodies[1:]:
        sent = time.monotonic()
        post(port, body)
        warm.append(time.monotonic() - sent)
    memory = int(next(line for line in open(f"/proc/{process.pid}/status") if line.startswith("VmHWM")).split()[1]) * 1024
    process.send_signal(signal.SIGTERM)
    process.wait()
    return {"first": first * 1e3, "warm": statistics.median(warm) * 1e3, "memory": memory / 1e6}


def main():
    program, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 11
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        carrying = shutil.copy2(program, folder / "carrying")
        carries = subprocess.run([carrying, "plugin", "compile", "--embed-in", carrying], capture_output=True).returncode == 0
        kept = folder / "kept"
        taken = {}
        for number in range(rounds + 1):
            ways = {"compiled in the process": (program, folder / f"empty-{number}"), "from the cache": (program, kept)}
            if carries:
                ways["carried by the program"] = (carrying, folder / f"empty-carrying-{number}")
            for name, (path, cache) in ways.items():
                sample = measure(path, cache, folder)
                if number > 0:  # The first round fills the cache.
                    taken.setdefault(name, []).append(sample)
        print(f"| plugins | start to first answer, ms (median of {rounds}; least to most) | next invocations, ms | peak memory, MB |")
        print("|---|---|---|---|")
        for name, samples in taken.items():
            first = sorted(sample["first"] for sample in samples)
            median = lambda what: statistics.median(sample[what] for sample in samples)
            print(f"| {name} | {statistics.median(first):.0f} ({first[0]:.0f} to {first[-1]:.0f}) | {median('warm'):.1f} | {median('memory'):.0f} |")


main()

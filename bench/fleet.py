"""Measures the fleet's exports: messages to Avro, and the state of a million devices of which a tenth changes each minute."""

import json
import shutil
import statistics
import sys

from measuring import BENCH, RELEASE, WORK, configured, digest, empty, run, shares, summed, table

MESSAGES = 1_000_000
DEVICES = 1_000_000
# Each changes another tenth. After the second one, runs are merged.
MINUTES = 4


def generated(name, script, *arguments):
    """A file of one of the generators, made once."""
    path = WORK / name
    if not path.exists():
        print(f"generating {name}", file=sys.stderr)
        part = path.with_suffix(".part")
        run([sys.executable, BENCH / "compare" / script, *map(str, arguments), part])
        part.rename(path)
    return path


def messages_configuration(source, folder):
    return configured(folder, f"""\
[sources.fleet]
files = {json.dumps(str(source))}
envelope = "iot-hub"

[exports.measurements]
source = "fleet"
format = {{ plugin = "avro", record = "message" }}
""")


TOOLS = {
    "lakeport": lambda source, folder: [RELEASE / "lakeport", "run", messages_configuration(source, folder), "--json"],
    "apache-avro": lambda source, folder: [RELEASE / "lakeport-bench", "apache", "--input", source, "--out", folder],
    "fastavro": lambda source, folder: [sys.executable, BENCH / "compare" / "avro_fastavro.py", source, folder],
}
REFERENCE = "fastavro"


def messages(runs):
    source = generated("messages.ndjson", "generate_messages.py", MESSAGES)
    folder = WORK / "out" / "messages"
    samples = {tool: [] for tool in TOOLS}
    digests = {}
    for turn in range(runs):
        for tool, command in TOOLS.items():
            out = folder / tool
            empty(out)
            samples[tool].append(run(command(source, out)))
            print(f"messages {turn + 1}/{runs} {tool}: {samples[tool][-1]['seconds']:.2f} s", file=sys.stderr)
            if turn == 0:
                digests[tool] = digest("digest_avro.py", out)
    for tool, found in digests.items():
        if found != digests[REFERENCE]:
            sys.exit(f"{tool} wrote other records than {REFERENCE}: compare {folder / tool} with {folder / REFERENCE}")
    shutil.rmtree(folder)
    size = source.stat().st_size
    return {"records": MESSAGES, "input-bytes": size, "tools": {tool: summed(s, size) for tool, s in samples.items()}}


def devices_configuration(source, folder):
    return configured(folder, f"""\
[sources.registry]
files = {json.dumps(str(source / "*.ndjson"))}
envelope = "change"

[exports.devices]
type = "changes"
source = "registry"
format = {{ plugin = "avro", record = "device" }}
""")


def devices(runs):
    """The first export of every device, then of a tenth of them each minute; clocks are set forward, nothing is waited for."""
    created = generated("devices.ndjson", "generate_devices.py", DEVICES)
    patched = [
        generated(f"devices-{minute}.ndjson", "generate_devices.py", "--round", minute, DEVICES)
        for minute in range(1, MINUTES + 1)
    ]
    folder = WORK / "out" / "devices"
    first, minutes = [], []
    for turn in range(runs):
        empty(folder)
        source, lake = folder / "source", folder / "lake"
        source.mkdir()
        config = devices_configuration(source, lake)
        for minute, path in enumerate([created, *patched]):
            # One file a minute, in the order of their names.
            (source / f"{minute:03}.ndjson").symlink_to(path)
            ahead = ["--seconds", str(90 * minute)]
            taken = run([RELEASE / "lakeport-bench", "ahead", config, *ahead])
            written = taken["report"]["exports"][0]["records-written"]
            expected = DEVICES if minute == 0 else len(range((minute - 1) % 10, DEVICES, 10))
            if written != expected:
                sys.exit(f"minute {minute}: {written} devices in {folder}, expected {expected}")
            (minutes if minute else first).append(taken)
            print(f"devices {turn + 1}/{runs} minute {minute}: {taken['seconds']:.2f} s", file=sys.stderr)
    shutil.rmtree(folder)
    return {
        "devices": DEVICES,
        "input-bytes": created.stat().st_size,
        "changes-input-bytes": patched[0].stat().st_size,
        "minutes": MINUTES,
        "first": spread(first),
        "minute": spread(minutes),
    }


def spread(taken):
    seconds = sorted(sample["seconds"] for sample in taken)
    return {
        "seconds": statistics.median(seconds),
        "seconds-all": seconds,
        "cpu-seconds": statistics.median(sample["cpu-seconds"] for sample in taken),
        "peak-bytes": max(sample["peak-bytes"] for sample in taken),
    }


def measure(runs):
    return {"messages": messages(runs), "devices": devices(runs)}


def markdown(results):
    """The results as people read them, as lines."""
    sent, kept = results["messages"], results["devices"]
    lines = [
        "",
        f"## {sent['records']:,} messages to Avro, {sent['input-bytes'] / 1e6:,.0f} MB, codec null",
        "",
        *table(sent["tools"]),
        *shares(sent["tools"]["lakeport"]["report"]),
        "",
        f"## The state of {kept['devices']:,} devices",
        "",
        "| export | seconds (fastest–slowest) | CPU seconds | peak memory |",
        "|---|--:|--:|--:|",
    ]
    rows = {
        f"all devices, {kept['input-bytes'] / 1e6:,.0f} MB of documents": kept["first"],
        f"a minute in which a tenth changed, {kept['changes-input-bytes'] / 1e6:,.0f} MB of patches": kept["minute"],
    }
    for name, result in rows.items():
        fastest, slowest = result["seconds-all"][0], result["seconds-all"][-1]
        lines.append(
            f"| {name} | {result['seconds']:.2f} ({fastest:.2f}–{slowest:.2f}) "
            f"| {result['cpu-seconds']:.2f} | {result['peak-bytes'] / 1e6:,.0f} MB |"
        )
    return lines

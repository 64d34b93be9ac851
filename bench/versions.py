"""Whether a version is slower than another: both binaries take turns at the main jobs, on the same input.

    .tools/py/bin/python bench/versions.py BEFORE AFTER [RUNS [JOB]]

`JOB` is a part of the name of those that are wanted. The input is what `just bench` generates. What both write must be the same, apart from times of writing; it prints medians, and the ratio of each.
"""

import json
import statistics
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fleet
import run as signals
import tables
from measuring import WORK, configured, digest, empty, run

JOBS = {
    "signals (1 M, one in five kept)": (lambda: signals.generate("1m"), signals.configuration, "digest.py"),
    "messages to Avro (1 M)": (
        lambda: fleet.generated("messages.ndjson", "generate_messages.py", fleet.MESSAGES),
        fleet.messages_configuration,
        "digest_avro.py",
    ),
    "a table's initial sync (1 M rows)": (lambda: rows_folder(), tables.configuration, None),
    "first snapshot of a million devices": (lambda: devices_folder(), fleet.devices_configuration, None),
    "43,200 files of a minute each (16.6 MB)": (lambda: minutes(), lambda source, folder: minutes_configuration(source, folder), "digest.py"),
}


def folder_of(name, file):
    folder = WORK / name
    folder.mkdir(exist_ok=True)
    link = folder / "000.ndjson"
    link.unlink(missing_ok=True)
    link.symlink_to(file)
    return folder


def rows_folder():
    return folder_of("rows", tables.generated(f"rows-{tables.ROWS}.ndjson", "generate_rows.py", tables.ROWS))


def devices_folder():
    return folder_of("registry", fleet.generated("devices.ndjson", "generate_devices.py", fleet.DEVICES))


def minutes():
    """A month of signals, one a minute."""
    path = WORK / "minutes.ndjson"
    if not path.exists():
        start = datetime(2026, 10, 1, tzinfo=timezone.utc)
        times = (start + timedelta(minutes=minute) for minute in range(43_200))
        signal = '{{"name":"Heartbeat","signalTime":"{0}","serverTime":"{0}","deviceId":"cm-{1}","note":"{2}"}}\n'
        path.write_text("".join(signal.format(time.strftime("%Y-%m-%dT%H:%M:%SZ"), time.minute, "x" * 254) for time in times))
    return path


def minutes_configuration(source, folder):
    return configured(folder, f"""\
[sources.signals]
files = {json.dumps(str(source))}

[exports.signals]
source = "signals"
path = "{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{mm}}/{{part}}.{{ext}}"
granularity = "minute"
""")


def written(report):
    return [(export["export"], export["records-read"], export["records-written"]) for export in report["exports"]]


def main():
    binaries = dict(zip(("before", "after"), (Path(path).resolve() for path in sys.argv[1:3])))
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    WORK.mkdir(parents=True, exist_ok=True)
    print(f"| job | before, s | after, s | after / before | CPU | peak memory | (medians of {runs}) |")
    print("|---|--:|--:|--:|--:|--:|---|")
    wanted = sys.argv[4] if len(sys.argv) > 4 else ""
    for job, (source, configuration, check) in JOBS.items():
        if wanted not in job:
            continue
        source, samples, found = source(), {name: [] for name in binaries}, {}
        for turn in range(runs + 1):
            for name, binary in binaries.items():
                out = WORK / "out" / "versions" / name
                empty(out)
                taken = run([binary, "run", configuration(source, out), "--json"])
                if turn == 0:  # Brings the input into the page cache, and fills the caches of plugins.
                    found[name] = (written(taken["report"]), digest(check, out) if check else None)
                else:
                    samples[name].append(taken)
        if found["before"] != found["after"]:
            sys.exit(f"{job}: the versions wrote different records: {json.dumps(found, default=str)[:2000]}")
        median = {
            name: {key: statistics.median(sample[key] for sample in taken) for key in ("seconds", "cpu-seconds", "peak-bytes")}
            for name, taken in samples.items()
        }
        ratio = {key: median["after"][key] / median["before"][key] for key in median["after"]}
        spread = "; ".join(
            f"{name} {min(sample['seconds'] for sample in taken):.2f} to {max(sample['seconds'] for sample in taken):.2f}"
            for name, taken in samples.items()
        )
        print(
            f"| {job} | {median['before']['seconds']:.2f} | {median['after']['seconds']:.2f} | {ratio['seconds']:.2f} |"
            f" {ratio['cpu-seconds']:.2f} | {ratio['peak-bytes']:.2f} | {spread} |",
            flush=True,
        )


main()

"""Measures tables: the initial sync of a million rows, then ten thousand changes a second while snapshots are written.

Linux only: what a process has written is read from /proc.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from fleet import generated
from measuring import BENCH, RELEASE, WORK, configured, empty, run

ROWS = 1_000_000
CHANGES_A_SECOND = 10_000
SECONDS = 60
EVERY = 5
# How long the last change may take to be readable.
PATIENCE = 300
CHUNKS_A_SECOND = 20
PUBLIC = "https://contoso.dfs.core.windows.net/exports/"
TYPES = {"balance": "int64", "visits": "int64", "active": "boolean", "visited_at": "dateTime", "created_at": "dateTime"}
COLUMNS = ["owner", "email", "city", "note", "balance", "visits", "active", "visited_at", "created_at"]


def configuration(source, lake):
    columns = ", ".join(f'{{ name = "{name}", data-type = "{TYPES.get(name, "string")}" }}' for name in COLUMNS)
    return configured(lake, f"""\
[sources.bank]
files = {json.dumps(str(source / "*.ndjson"))}
envelope = "change"

[exports.bank]
type = "table"
source = "bank"
format = {{ plugin = "cdm-csv", dates = "iso" }}
public-url = "{PUBLIC}"
snapshots = {{ every = "{EVERY}s", keep = "1h" }}

[exports.bank.tables.accounts]
created = "/created_at"
partition = "month"
columns = [{columns}]
""")


def rewrite(source, lake, *more):
    return [sys.executable, BENCH / "compare" / "rewrite_tables.py", *more, source, lake]


# How each tool does the initial sync, and how it follows; and whether it goes on in the lake of the first.
TOOLS = {
    "lakeport": (
        lambda source, lake: [RELEASE / "lakeport", "run", configuration(source, lake), "--json"],
        lambda source, lake: [RELEASE / "lakeport", "run", configuration(source, lake), "--follow", "--json"],
        True,
    ),
    "duckdb": (rewrite, lambda source, lake: rewrite(source, lake, "--every", str(EVERY)), False),
}


class Reader(threading.Thread):
    """Looks at model.json a hundred times a second, and keeps what it saw and when; what files hold is looked up afterwards."""

    def __init__(self, model):
        super().__init__(daemon=True)
        self.model, self.seen, self.ended = model, [], threading.Event()

    def run(self):
        last = None
        while not self.ended.wait(0.01):
            try:
                content = self.model.read_bytes()
            except FileNotFoundError:
                continue
            if content != last:
                self.seen.append((time.monotonic(), content))
                last = content

    def files(self, content):
        """The files of a model, below the lake."""
        entities = json.loads(content)["entities"]
        return [partition["location"].removeprefix(PUBLIC) for partition in entities[0]["partitions"]]


def feed(changes, path):
    """Appends the changes, as many a second as there are to be; answers with the times at which each chunk was there."""
    size = CHANGES_A_SECOND // CHUNKS_A_SECOND
    begun, times = time.monotonic(), []
    with changes.open("rb") as lines, path.open("ab", buffering=0) as out:
        for number in range(SECONDS * CHUNKS_A_SECOND):
            due = begun + (number + 1) / CHUNKS_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            out.write(b"".join(lines.readline() for _ in range(size)))
            times.append(time.monotonic())
    return times, size


def written_by(process):
    """Bytes that a process has handed to the system, to whatever file."""
    counts = Path(f"/proc/{process.pid}/io").read_text().split()
    return int(counts[counts.index("wchar:") + 1])


def follow(command, source, lake, changes):
    """Lets a tool follow the changes; answers with what it took and what a reader saw."""
    reader = Reader(lake / "bank" / "model.json")
    path = source / "001.ndjson"
    path.write_bytes(b"")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    reader.start()
    while not reader.seen and process.poll() is None:
        time.sleep(0.05)
    before = written_by(process)
    fed, size = feed(changes, path)
    # Until there was time for three snapshots and none came: the last change is in the last one then.
    settled = time.monotonic()
    times = [at for at, _ in reader.seen]
    quiet = 3 * max([EVERY, *(later - earlier for earlier, later in zip(times, times[1:]))])
    while time.monotonic() - max(settled, reader.seen[-1][0]) < quiet and time.monotonic() - settled < PATIENCE:
        if process.poll() is not None:
            sys.exit(f"`{' '.join(map(str, command))}` ended by itself with code {process.returncode}")
        time.sleep(0.1)
    written = written_by(process) - before
    reader.ended.set()
    reader.join()
    process.send_signal(signal.SIGINT)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0

    seen = lake.with_suffix(".seen")
    seen.write_text("".join(json.dumps({"files": reader.files(content)}) + "\n" for _, content in reader.seen))
    digest = [sys.executable, BENCH / "compare" / "digest_tables.py", lake, seen]
    found = json.loads(subprocess.run(digest, check=True, capture_output=True).stdout)
    # The first model with a change, or with a later one, makes it readable.
    ages, model = [], 0
    for chunk, appended in enumerate(fed):
        version = ROWS + 1 + chunk * size
        for change in range(version, version + size):
            while model < len(found["newest"]) and found["newest"][model] < change:
                model += 1
            if model < len(found["newest"]):
                ages.append(reader.seen[model][0] - appended)
    return {
        "written-bytes": written,
        "changed-bytes": changes.stat().st_size,
        "peak-bytes": usage.ru_maxrss * 1024,
        "cpu-seconds": usage.ru_utime + usage.ru_stime,
        "models": len(reader.seen),
        # The last few may be deletes, of which no row tells.
        "unread": SECONDS * CHANGES_A_SECOND - len(ages),
        "age-median": statistics.median(ages),
        "age-99": statistics.quantiles(ages, n=100)[98],
        "rows": found["rows"],
        "digest": found["digest"],
    }


def measure(tools=tuple(TOOLS)):
    rows = generated(f"rows-{ROWS}.ndjson", "generate_rows.py", ROWS)
    number = CHANGES_A_SECOND * SECONDS
    changes = generated(f"changes-{ROWS}-{number}.ndjson", "generate_rows.py", "--changes", number, ROWS)
    results = {}
    for tool in tools:
        initial, following, goes_on = TOOLS[tool]
        folder = WORK / "out" / "tables" / tool
        empty(folder)
        source, lake = folder / "source", folder / "lake"
        source.mkdir()
        (source / "000.ndjson").symlink_to(rows)
        first = run(initial(source, lake))
        print(f"tables {tool}: {ROWS:,} rows in {first['seconds']:.1f} s", file=sys.stderr)
        if not goes_on:
            shutil.rmtree(lake)
        then = follow(following(source, lake), source, lake, changes)
        print(f"tables {tool}: age {then['age-median']:.1f} s, {then['age-99']:.1f} s", file=sys.stderr)
        results[tool] = {"initial": {key: first[key] for key in ("seconds", "cpu-seconds", "peak-bytes")}, "following": then}
        shutil.rmtree(folder)
    found = {(result["following"]["rows"], result["following"]["digest"]) for result in results.values()}
    if len(found) > 1:
        sys.exit(f"the tools' last tables differ: {found}")
    return {"rows": ROWS, "input-bytes": rows.stat().st_size, "tools": results}


def markdown(results):
    """The results as people read them, as lines."""
    lines = [
        "",
        f"## A table of {results['rows']:,} rows, {results['input-bytes'] / 1e6:,.0f} MB of records",
        "",
        "| tool | rows a second, initial sync | CPU seconds | peak memory |",
        "|---|--:|--:|--:|",
    ]
    for tool, result in results["tools"].items():
        first = result["initial"]
        lines.append(
            f"| {tool} | {results['rows'] / first['seconds']:,.0f} | {first['cpu-seconds']:.1f} "
            f"| {first['peak-bytes'] / 1e6:,.0f} MB |"
        )
    lines += [
        "",
        f"Then {CHANGES_A_SECOND:,} changes a second for {SECONDS} seconds, a snapshot every {EVERY} seconds:",
        "",
        "| tool | a change's age when it is readable, median | 99th percentile | bytes written a byte changed | CPU seconds | peak memory |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for tool, result in results["tools"].items():
        then = result["following"]
        lines.append(
            f"| {tool} | {then['age-median']:.1f} s | {then['age-99']:.1f} s "
            f"| {then['written-bytes'] / then['changed-bytes']:.1f} | {then['cpu-seconds']:.1f} "
            f"| {then['peak-bytes'] / 1e6:,.0f} MB |"
        )
    return lines

"""What all measurements share: where things are, running a command, and what the machine is."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

BENCH = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", BENCH.parent / "target")).resolve()
WORK = TARGET / "bench"
RELEASE = TARGET / "release"


def run(command):
    """Runs a command to its end: what it took, and the last line it printed, as JSON."""
    with tempfile.TemporaryFile() as out:
        started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"`{' '.join(map(str, command))}` ended with code {process.returncode}")
        out.seek(0)
        printed = out.read()
    # The kernel counts in KiB; Darwin's in bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "seconds": seconds,
        "cpu-seconds": usage.ru_utime + usage.ru_stime,
        "peak-bytes": peak,
        "report": last_json(printed),
    }


def last_json(printed):
    """The JSON value that a tool printed last: all of its output, or else its last line."""
    for text in (printed, printed.strip().split(b"\n")[-1]):
        try:
            return json.loads(text)
        except ValueError:
            continue
    return None


def configured(folder, text):
    """A configuration whose lake `main` is `folder`, beside it."""
    config = folder.with_suffix(".toml")
    config.write_text(f"[lakes.main]\nurl = {json.dumps(str(folder))}\n\n{text}")
    return config


def digest(script, folder):
    """What the folder holds. In a process of its own: memory used here would count as the next tool's peak."""
    command = [sys.executable, BENCH / "compare" / script, folder]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def summed(taken, input_bytes):
    """One tool's samples as a result."""
    seconds = sorted(sample["seconds"] for sample in taken)
    median = statistics.median(seconds)
    return {
        "seconds": median,
        "seconds-all": seconds,
        "cpu-seconds": statistics.median(sample["cpu-seconds"] for sample in taken),
        "peak-bytes": max(sample["peak-bytes"] for sample in taken),
        "mb-per-second": input_bytes / 1e6 / median,
        "report": min(taken, key=lambda sample: abs(sample["seconds"] - median))["report"],
    }


def table(results):
    """Results by tool, as lines of a table."""
    lines = ["| tool | MB/s of input | seconds (fastest–slowest) | CPU seconds | peak memory |", "|---|--:|--:|--:|--:|"]
    for tool, result in results.items():
        spread = f"{result['seconds-all'][0]:.2f}–{result['seconds-all'][-1]:.2f}"
        lines.append(
            f"| {tool} | {result['mb-per-second']:,.0f} | {result['seconds']:.2f} ({spread}) "
            f"| {result['cpu-seconds']:.2f} | {result['peak-bytes'] / 1e6:,.0f} MB |"
        )
    return lines


def shares(report):
    """What Lakeport says its time went into, as lines of a table."""
    export = report["exports"][0]
    lines = ["", "| inside Lakeport | ns a record read, or that reached the plugin (share of the lanes' time) |", "|---|--:|"]
    records = export["records-read"]
    lanes = sum(export["stages"].values())
    lines += [f"| stage {stage} | {ns / records:,.0f} ({ns / lanes:.0%}) |" for stage, ns in export["stages"].items()]
    for name, usage in export["plugins"].items():
        lines.append(f"| plugin {name}, {usage['rows-in']:,} records | {usage['nanoseconds'] / usage['rows-in']:,.0f} |")
    return lines


def machine():
    model = platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = (line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name"))
        model = next(names, model)
    file_system = "unknown"
    if shutil.which("findmnt"):
        found = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", WORK], capture_output=True, text=True)
        file_system = found.stdout.strip() or file_system
    # Not imported: this process's own memory is the least that its children's peak can be told from.
    versions = {name: version(name) for name in ("duckdb", "polars", "orjson", "fastavro")}
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory-bytes": memory,
        "system": f"{platform.system()} {platform.release()}",
        "file-system": file_system,
        "versions": {"rustc": rustc, "python": platform.python_version(), **versions},
    }

"""Measures Lakeport against the floor and against other tools that do the same job, and writes bench/results.{md,json}.

Every tool reads the same generated file, keeps ten of fifty signal names and writes a file an hour. The tools take turns, so
that whatever else the machine does hits them alike. Each result is compared, hour by hour, with that of the plain Python
script; a tool whose lines differ fails the run.

`just bench` runs all of it; `just bench --only lakeport --size 1m --runs 3`, `just bench --fleet` or `just bench --tables` a part.
What a fleet exports is measured in fleet.py, tables in tables.py.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from datetime import datetime, timezone

import fleet
import tables
from measuring import BENCH, RELEASE, WORK, configured, digest, empty, machine, run, shares, summed, table

SIZES = {"1m": 1_000_000, "10m": 10_000_000}
KEPT = json.loads((BENCH / "kept-names.json").read_text())
REFERENCE = "plain-python"


def configuration(source, folder):
    return configured(folder, f"""\
[sources.signals]
files = {json.dumps(str(source))}

[exports.signals]
source = "signals"
lake = "main"
filters = [{{ plugin = "select", kinds = {json.dumps(KEPT)} }}]
""")


def lakeport(source, folder):
    return [RELEASE / "lakeport", "run", configuration(source, folder), "--json"]


def native(source, folder):
    return [RELEASE / "lakeport-bench", "native", configuration(source, folder)]


def floor(threads, json_library):
    command = [RELEASE / "lakeport-bench", "floor", "--threads", str(threads), "--json", json_library]
    return lambda source, folder: [*command, "--input", source, "--out", folder]


def script(name):
    return lambda source, folder: [sys.executable, BENCH / "compare" / name, source, folder]


TOOLS = {
    "lakeport": lakeport,
    "native": native,
    "floor-2": floor(2, "host"),
    "floor-1": floor(1, "host"),
    "floor-sonic-1": floor(1, "sonic"),
    "duckdb": script("duckdb_sql.py"),
    "polars": script("polars_lazy.py"),
    REFERENCE: script("plain_python.py"),
}


def generate(size):
    path = WORK / f"signals-{size}.ndjson"
    if not path.exists():
        print(f"generating {path.name}", file=sys.stderr)
        part = path.with_suffix(".part")
        run([RELEASE / "lakeport-bench", "generate", "--count", str(SIZES[size]), "--out", part])
        part.rename(path)
    return path


def measure(size, tools, runs):
    """Runs every tool `runs` times, in turns; a result a tool."""
    source = generate(size)
    folder = WORK / "out" / size
    empty(folder)
    wanted = folder / "wanted"
    wanted.mkdir()
    run(TOOLS[REFERENCE](source, wanted))  # also brings the input into the page cache
    wanted = digest("digest.py", wanted)

    samples = {tool: [] for tool in tools}
    for turn in range(runs):
        for tool in tools:
            out = folder / tool
            empty(out)
            samples[tool].append(run(TOOLS[tool](source, out)))
            print(f"{size} {turn + 1}/{runs} {tool}: {samples[tool][-1]['seconds']:.2f} s", file=sys.stderr)
            if turn == 0 and digest("digest.py", out) != wanted:
                sys.exit(f"{tool} wrote other lines than {REFERENCE}: compare {out} with compare/plain_python.py's")
    shutil.rmtree(folder)

    input_bytes = source.stat().st_size
    results = {tool: summed(taken, input_bytes) for tool, taken in samples.items()}
    kept = sum(count for count, _ in wanted.values())
    return {"records": SIZES[size], "input-bytes": input_bytes, "kept": kept, "tools": results}


def startup(runs=11):
    """Milliseconds from start to exit of an export of one record, compile cache warm: an upper bound of the start-up."""
    source = WORK / "one.ndjson"
    run([RELEASE / "lakeport-bench", "generate", "--count", "1", "--out", source])
    folder = WORK / "out" / "one"
    taken = []
    for _ in range(runs + 1):
        empty(folder)
        taken.append(run(lakeport(source, folder))["seconds"] * 1e3)
    shutil.rmtree(folder)
    return statistics.median(taken[1:])


def markdown(results):
    """The results as people read them."""
    where = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    lines = [
        "# Results",
        "",
        "Written by `just bench`; what is measured, and how to repeat it, is in [README.md](README.md).",
        "",
        f"Measured {results['date']} on {where['cores']} cores of {where['processor']},"
        f" {where['memory-bytes'] / 2**30:.0f} GiB, {where['system']}, {where['file-system']}; {versions}."
        f" Medians of {results['runs']} runs, tools in turns, input in the page cache.",
    ]
    for size in results["sizes"].values():
        lines += [
            "",
            f"## {size['records']:,} signals, {size['input-bytes'] / 1e6:,.0f} MB, {size['kept']:,} kept",
            "",
            *table(size["tools"]),
        ]
        lines += shares_of(size)
    lines += growth(results["sizes"])
    if "fleet" in results:
        lines += fleet.markdown(results["fleet"])
    if "tables" in results:
        lines += tables.markdown(results["tables"])
    if "startup-ms" in results:
        lines += ["", "## Start-up", "", f"One record exported, start to exit: {results['startup-ms']:.0f} ms."]
    return "\n".join(lines) + "\n"


def shares_of(size):
    """What Lakeport's time went into, and what the sandbox costs."""
    report = (size["tools"].get("lakeport") or {}).get("report")
    if not report:
        return []
    lines = shares(report)
    native = size["tools"].get("native")
    if native:
        taxed = size["tools"]["lakeport"]
        wall, processor = (taxed[key] / native[key] - 1 for key in ("seconds", "cpu-seconds"))
        lines += ["", f"What the sandbox costs: {wall:+.0%} of the seconds, {processor:+.0%} of the CPU seconds."]
    return lines


def growth(sizes):
    """How time and memory grow with tenfold input."""
    if set(sizes) != set(SIZES):
        return []
    small, large = (sizes[size]["tools"] for size in SIZES)
    lines = ["", "## Tenfold input", "", "| tool | time | peak memory |", "|---|--:|--:|"]
    for tool in small:
        longer = large[tool]["seconds"] / small[tool]["seconds"]
        bigger = large[tool]["peak-bytes"] / small[tool]["peak-bytes"]
        lines.append(f"| {tool} | × {longer:.1f} | × {bigger:.2f} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description="Measures Lakeport against the floor and other tools.")
    parser.add_argument("--only", help=f"tools, separated by commas: {', '.join(TOOLS)}", default=",".join(TOOLS))
    parser.add_argument("--size", choices=SIZES, action="append", help="one size; both where it is not given")
    parser.add_argument("--fleet", action="store_true", help="the fleet's exports only")
    parser.add_argument("--tables", action="store_true", help="tables only, once")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    tools = arguments.only.split(",")
    unknown = [tool for tool in tools if tool not in TOOLS]
    if unknown:
        parser.error(f"no tool is called {', '.join(unknown)}; there are {', '.join(TOOLS)}")

    build = ["cargo", "build", "--release", "--package=lakeport-cli", "--package=lakeport-bench"]
    subprocess.run(build, check=True, cwd=BENCH)
    WORK.mkdir(parents=True, exist_ok=True)
    results = {"date": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "runs": arguments.runs, "machine": machine()}
    part = arguments.fleet or arguments.tables
    everything = tools == list(TOOLS) and not arguments.size and not part
    sizes = [] if part else arguments.size or SIZES
    results["sizes"] = {size: measure(size, tools, arguments.runs) for size in sizes}
    if everything:
        results["startup-ms"] = startup()
    if everything or arguments.fleet:
        results["fleet"] = fleet.measure(arguments.runs)
    if everything or arguments.tables:
        results["tables"] = tables.measure()

    text = markdown(results)
    print(text)
    # A part of the measurements is for the one who asked; only all of them replace the published ones.
    if everything:
        (BENCH / "results.md").write_text(text)
        (BENCH / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""What many exports in one process take: threads, memory, and requests to the store.

    .tools/py/bin/python bench/many.py PROGRAM [PROGRAM…]

Each program follows 200 sources into one S3 bucket of moto's, with one configuration. Its first run has a line in every source. It is
measured when all of them are in the lake, and again ten seconds later, when nothing came any more.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

EXPORTS = 200


class Store:
    """moto's S3 as a process of its own, whose requests are counted."""

    def __init__(self):
        command = [sys.executable, "-c", "import sys; from moto.server import main; main(sys.argv[1:])", "-H", "127.0.0.1", "-p", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.requests = {}
        self.port = None
        threading.Thread(target=self.count, daemon=True).start()
        while self.port is None:
            time.sleep(0.05)

    def count(self):
        for line in self.process.stderr:
            if found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
            elif found := re.search(r'"(?:\x1b\[\d+m)*(GET|PUT|POST|HEAD|DELETE) (\S+) HTTP', line):
                method = "LIST" if found[1] == "GET" and "list-type" in found[2] else found[1]
                self.requests[method] = self.requests.get(method, 0) + 1

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def status(process):
    text = Path(f"/proc/{process.pid}/status").read_text()
    value = lambda name: int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1])
    return {"threads": value("Threads"), "memory-mb": value("VmRSS") * 1024 // 1_000_000}


def measure(program, folder):
    store = Store()
    lines = [
        '[lakes.main]\nurl = "s3://many/lake"\nregion = "us-east-1"\n'
        f'endpoint = "http://127.0.0.1:{store.port}"\naccess-key-id = "env:KEY"\nsecret-access-key = "env:SECRET"\n'
    ]
    for number in range(EXPORTS):
        (folder / f"{number}.ndjson").write_text('{"id":"a","time":"2026-01-01T00:00:00Z"}\n')
        lines.append(
            f'[sources.s{number}]\nfiles = "{folder}/{number}.ndjson"\n\n'
            f'[exports.e{number}]\nsource = "s{number}"\nflush = {{ every = "1s" }}\n'
            'path = "{export}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}"\n'
        )
    config = folder / "lakeport.toml"
    config.write_text("\n".join(lines))
    began = time.monotonic()
    environment = {**os.environ, "KEY": "k", "SECRET": "s" * 16}
    process = subprocess.Popen([program, "run", config, "--follow"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    said = []
    threading.Thread(target=lambda: said.extend(process.stderr), daemon=True).start()
    while sum("committed" in line for line in list(said)) < EXPORTS:
        if process.poll() is not None or time.monotonic() - began > 300:
            sys.exit(f"{program}: it does not commit all: {''.join(said[-5:])}")
        time.sleep(0.1)
    seconds = time.monotonic() - began
    busy, requests = status(process), dict(store.requests)
    time.sleep(10)
    quiet = status(process)
    process.send_signal(signal.SIGINT)
    process.wait()
    store.end()
    return {"seconds": round(seconds, 1), "requests": sum(requests.values()), "by-method": requests, "busy": busy, "quiet": quiet}


for program in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as folder:
        print(program, json.dumps(measure(Path(program).resolve(), Path(folder))), flush=True)

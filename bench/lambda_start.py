"""Times the Lambda function through a Runtime API of its own: from the start of the process to the first answer, and answers after that.

    .tools/py/bin/python bench/lambda_start.py [--binary PATH] [--lakeport PATH] [--runs N]

Three ways take turns: the plugins are compiled in the process (an empty cache), they are in the cache, or the function carries them
(`lakeport plugin compile --embed-in`; with an empty cache).

The lake is a local folder, so that what is measured is the function and not a store. Prints a table, and the machine.
"""

import argparse
import base64
import json
import os
import queue
import shutil
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from measuring import RELEASE, WORK, empty, machine

CONFIGURATION = """
[lakes.main]
url = "./lake"

[sources.telemetry]
http = true
time = false

[exports.telemetry]
source = "telemetry"
timestamp = "write"
path = "{export}/{partition}/{YYYY}/{MM}/{dd}/{HH}/{part}.{ext}"
"""
RECORDS, WARM = 100, 20


class Platform:
    """One function's Runtime API."""

    def __init__(self):
        self.events, self.answers = queue.Queue(), queue.Queue()
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                event = platform.events.get()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60_000))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:r:1:function:lakeport")
                self.send_header("Content-Length", str(len(event)))
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"] or 0)) or self.chunks()
                platform.answers.put((self.path, body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def chunks(self):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, process):
        while process.poll() is None:
            try:
                path, body = self.answers.get(timeout=1)
                break
            except queue.Empty:
                continue
        else:
            sys.exit(f"the function ended with code {process.returncode}")
        if not path.endswith("/response"):
            sys.exit(f"the invocation failed: {body.decode()}")


def event(number):
    """A batch of a stream: a hundred records of some 300 bytes."""
    stream = "arn:aws:kinesis:eu-central-1:123456789012:stream/telemetry"

    def record(at):
        data = json.dumps({"id": f"{number}-{at}", "name": "Reading", "note": "x" * 240}).encode()
        sequence = f"4959033827149025660855969253836157{number * RECORDS + at:022}"
        kinesis = {"sequenceNumber": sequence, "partitionKey": "1", "data": base64.b64encode(data).decode()}
        return {"eventSource": "aws:kinesis", "eventID": f"shardId-0:{sequence}", "eventSourceARN": stream, "kinesis": kinesis}

    return json.dumps({"Records": [record(at) for at in range(RECORDS)]}).encode()


def peak(process):
    """The most memory that the process had, in bytes."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def measure(binary, cache):
    """Seconds to the first answer, seconds of each further one, and the most memory."""
    folder = WORK / "lambda"
    empty(folder)
    (folder / "lakeport.toml").write_text(CONFIGURATION)
    platform = Platform()
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{platform.server.server_port}",
        "AWS_LAMBDA_FUNCTION_NAME": "lakeport",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "LAMBDA_TASK_ROOT": str(folder),
        "LAKEPORT_CACHE_DIR": str(cache),
    }
    platform.events.put(event(0))
    started = time.monotonic()
    process = subprocess.Popen([binary], env=environment)
    try:
        platform.answer(process)
        first = time.monotonic() - started
        warm = []
        for number in range(1, WARM + 1):
            started = time.monotonic()
            platform.events.put(event(number))
            platform.answer(process)
            warm.append(time.monotonic() - started)
        return first, warm, peak(process)
    finally:
        process.terminate()
        process.wait()
        platform.server.shutdown()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", default=RELEASE / "lakeport-lambda")
    arguments.add_argument("--lakeport", default=RELEASE / "lakeport")
    arguments.add_argument("--runs", type=int, default=10)
    arguments = arguments.parse_args()
    cache, carrying = WORK / "lambda-cache", WORK / "lakeport-lambda"
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.copy2(arguments.binary, carrying)
    subprocess.run([arguments.lakeport, "plugin", "compile", "--embed-in", carrying], check=True, stdout=subprocess.DEVNULL)
    ways = {"compiled in the process": [], "from the cache": [], "carried by the function": []}
    for _ in range(arguments.runs):
        for name, samples in ways.items():
            if name != "from the cache":
                empty(cache)
            binary = carrying if name == "carried by the function" else arguments.binary
            samples.append(measure(binary, cache))
    print("| plugins | start to first answer, ms (median; least to most) | further answers, ms | peak memory, MB |\n|---|---|--:|--:|")
    for name, samples in ways.items():
        first = sorted(first * 1e3 for first, _, _ in samples)
        warm = statistics.median(seconds * 1e3 for _, each, _ in samples for seconds in each)
        memory = max(peak for _, _, peak in samples) / 1e6
        print(f"| {name} | {statistics.median(first):.0f} ({first[0]:.0f} to {first[-1]:.0f}) | {warm:.1f} | {memory:.0f} |")
    print(f"\n{json.dumps(machine())}")


if __name__ == "__main__":
    main()

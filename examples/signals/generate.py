"""Writes the example's signals: three hours of a small fleet of coffee machines, the same bytes every time.

Some machines lose their connection and send what they held back an hour or two later. One line was cut off and one has no
time: they become dead letters.

usage: generate.py            (writes signals/*.ndjson beside itself)
"""

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

START = datetime(2026, 3, 4, 6, tzinfo=timezone.utc)
SIGNALS = 2_000
STEP = timedelta(hours=3) / SIGNALS
NAMES = ["BrewStarted", "BrewCompleted", "CupDispensed", "GrinderJammed", "MilkTankEmpty", "WaterTankEmpty", "DescaleRequired"]
SHARES = [30, 28, 28, 1, 4, 7, 2]
MODELS = [("barista-one", "BO-1100"), ("barista-pro", "BP-2210"), ("office-mini", "OM-0450")]
SITES = {"berlin": 5, "lisbon": 4}


def rfc3339(time):
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signal(chance, site, received):
    machine = int(chance.random() * SITES[site])
    product, part = MODELS[machine % len(MODELS)]
    late = timedelta(minutes=20 + chance.random() * 100) if chance.random() < 0.03 else timedelta()
    sent = max(START, received - late - timedelta(seconds=chance.random()))
    [name] = chance.choices(NAMES, SHARES)
    return {
        "name": name,
        "signalTime": rfc3339(sent),
        "serverTime": rfc3339(received),
        "timezone": {"berlin": "+01:00", "lisbon": "+00:00"}[site],
        "version": "1.4",
        "productId": product,
        "partNumber": part,
        "deviceId": f"{site}-{machine:02}",
        "serialNumber": f"SN{1_000_000 + 37 * machine}",
        "assetId": f"a-{site}-{machine:02}",
        "temperature": round(88 + 8 * chance.random(), 1),
        "waterLevel": int(chance.random() * 101),
    }


def main():
    chance = random.Random("coffee")
    lines = {site: [] for site in SITES}
    for number in range(SIGNALS):
        site = "berlin" if chance.random() < 0.6 else "lisbon"
        lines[site].append(signal(chance, site, START + number * STEP))
    del lines["berlin"][400]["signalTime"]
    folder = Path(__file__).parent / "signals"
    folder.mkdir(exist_ok=True)
    for site, signals in lines.items():
        texts = [json.dumps(each, separators=(",", ":")) for each in signals]
        if site == "lisbon":
            texts[250] = texts[250][:90]
        (folder / f"{site}.ndjson").write_bytes("".join(f"{text}\n" for text in texts).encode())


if __name__ == "__main__":
    main()

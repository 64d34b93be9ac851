"""Simulates what an IoT hub and a device registry say of a fleet of refrigerators, the same bytes for the same seed.

Every refrigerator sends a message each 20 seconds: input/telemetry.ndjson, as IoT Hub writes messages. The fleet itself
is in input/registry.ndjson, a change a line: the first minute creates all templates and devices; in each later one some
devices change, one of them twice, one is new and one is deleted, and in every second one a template changes. From the
second minute on, one message a minute is not JSON.

usage: simulate.py [--devices 100] [--minutes 1] [--seed fleet] [--append]

Without --append a new fleet is written over the old one. With it the simulation goes on where it stopped; three calls
of a minute write what one call of three minutes does.
"""

import argparse
import base64
import json
import random
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

INPUT = Path(__file__).parent / "input"
START = datetime(2018, 6, 11, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
MESSAGES_A_MINUTE = 3
CHANGED = 0.1
LOCATIONS = ["New York", "Boston", "Chicago", "Seattle", "San Francisco", "Austin"]

VENDING, COOLER = "c318d580-39fc-4aca-b995-843719821049", "5d0a2b4e-7c53-4f0e-9d4b-0a7f1c2e9b36"


def template(key, name, events):
    def measured(title):
        return {"dataType": "double", "name": title}

    return {
        "id": key,
        "name": name,
        "version": "1.0.0",
        "measurements": {
            "telemetry": {
                "humidity": {**measured("Humidity"), "minValue": 0, "maxValue": 100},
                "magnetometerX": measured("Magnetometer X"),
                "magnetometerY": measured("Magnetometer Y"),
                "magnetometerZ": measured("Magnetometer Z"),
            },
            "states": {"connectivity": {"dataType": "enum", "name": "Connectivity"}},
            "events": events,
        },
        "settings": {"device": {"fanSpeed": {"dataType": "double", "name": "Fan Speed", "initialValue": 0}}},
        "properties": {
            "cloud": {
                "location": {"dataType": "string", "name": "Location", "initialValue": "Seattle"},
                "maintCon": {"dataType": "boolean", "name": "Maintenance Contract", "initialValue": True},
                "tempThresh": {"dataType": "double", "name": "Temperature Alert Threshold", "initialValue": 30},
            },
            "device": {"lastReboot": {"dataType": "dateTime", "name": "Last Reboot"}},
        },
    }


TEMPLATES = [
    template(VENDING, "Refrigerated Vending Machine", {"opened": {"name": "Door Opened", "category": "informational"}}),
    template(COOLER, "Walk-in Cooler", {}),
]


def hub_time(time):
    """Seven digits of a second, as IoT Hub has them."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1_000:03}0000Z"


def registry_time(time):
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def one_of(chance, choices):
    return choices[int(chance.random() * len(choices))]


def merge(document, patch):
    """The document after a JSON merge patch (RFC 7396): null removes a member."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for member, value in patch.items():
        if value is None:
            merged.pop(member, None)
        else:
            merged[member] = merge(merged.get(member), value)
    return merged


class Fleet:
    """The fleet at the start of a minute, and what happens to it from there."""

    def __init__(self, state):
        self.state = state
        self.devices, self.templates, self.versions = state["devices"], state["templates"], state["versions"]

    @classmethod
    def new(cls, seed, size):
        state = {"seed": seed, "size": size, "minute": 0, "named": 0, "devices": {}, "templates": {}, "versions": {}}
        return cls(state)

    def minute(self):
        """Goes on for a minute; its lines of the registry and of telemetry."""
        number = self.state["minute"]
        start = START + number * MINUTE
        # A generator a minute: what a call writes does not depend on where the call before it stopped.
        chance = random.Random(f"{self.state['seed']} {number}")
        registry = list(self.created(chance, start) if number == 0 else self.changed(chance, start, number))
        telemetry = list(self.messages(chance, start, number))
        self.state["minute"] += 1
        return registry, telemetry

    def change(self, operation, kind, key, time, body=None):
        """Takes a change over, and returns its record."""
        documents = self.devices if kind == "device" else self.templates
        version = self.versions[key] = self.versions.get(key, 0) + 1
        record = {"operation": operation, "kind": kind, "key": key, "version": version, "time": registry_time(time)}
        if operation == "delete":
            del documents[key]
            return record
        documents[key] = merge(documents[key], body) if operation == "patch" else body
        return {**record, "body": body}

    def new_device(self, chance, time):
        self.state["named"] += 1
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        device = {
            "id": key,
            "name": f"Refrigerator {self.state['named']}",
            "simulated": True,
            "deviceTemplate": {"id": VENDING if chance.random() < 0.8 else COOLER, "version": "1.0.0"},
            "properties": {
                "cloud": {
                    "location": one_of(chance, LOCATIONS),
                    "maintCon": chance.random() < 0.7,
                    "tempThresh": 20 + int(chance.random() * 15),
                },
                "device": {"lastReboot": registry_time(START - timedelta(hours=chance.random() * 2_000))},
            },
            "settings": {"device": {"fanSpeed": int(chance.random() * 4)}},
        }
        return self.change("create", "device", key, time, device)

    def created(self, chance, start):
        for each in TEMPLATES:
            yield self.change("create", "device-template", each["id"], start, each)
        for _ in range(self.state["size"]):
            yield self.new_device(chance, start)

    def changed(self, chance, start, number):
        """The changes of a later minute, in order."""
        count = max(1, int(len(self.devices) * CHANGED))
        times = sorted(start + chance.random() * MINUTE for _ in range(count + 3))
        keys = [one_of(chance, list(self.devices)) for _ in range(count)]
        # One device changes twice.
        keys[-1] = keys[0]
        for time, key in zip(times, keys):
            yield self.device_change(chance, key, time)
        yield self.new_device(chance, times[count])
        yield self.change("delete", "device", one_of(chance, list(self.devices)), times[count + 1])
        if number % 2 == 1:
            changed = json.loads(json.dumps(self.templates[VENDING]))
            changed["properties"]["cloud"]["tempThresh"]["initialValue"] = 20 + int(chance.random() * 15)
            yield self.change("update", "device-template", VENDING, times[count + 2], changed)

    def device_change(self, chance, key, time):
        device = self.devices[key]
        what = chance.choices(["fan", "reboot", "move", "contract", "rename"], [40, 30, 15, 10, 5])[0]
        if what == "rename":
            name = f"{device['name'].split(' (')[0]} ({device['properties']['cloud']['location']})"
            return self.change("update", "device", key, time, {**device, "name": name})
        if what == "fan":
            patch = {"settings": {"device": {"fanSpeed": (device["settings"]["device"]["fanSpeed"] + 1) % 5}}}
        elif what == "reboot":
            patch = {"properties": {"device": {"lastReboot": registry_time(time)}}}
        elif what == "move":
            elsewhere = [each for each in LOCATIONS if each != device["properties"]["cloud"]["location"]]
            patch = {"properties": {"cloud": {"location": one_of(chance, elsewhere)}}}
        else:
            # A contract that ends leaves no property behind; one that begins adds it.
            contract = None if "maintCon" in device["properties"]["cloud"] else True
            patch = {"properties": {"cloud": {"maintCon": contract}}}
        return self.change("patch", "device", key, time, patch)

    def messages(self, chance, start, number):
        """The messages of a minute, in the order in which the hub received them."""
        step = MINUTE / MESSAGES_A_MINUTE
        sent = [
            (start + (turn + chance.random()) * step, key) for turn in range(MESSAGES_A_MINUTE) for key in self.devices
        ]
        sent.sort()
        broken = int(chance.random() * len(sent)) if number > 0 else None
        return [self.message(chance, time, key, place == broken) for place, (time, key) in enumerate(sent)]

    def message(self, chance, time, key, broken):
        device = self.devices[key]
        # What stays the same for a device: where it stands, and how humid it is there.
        own = random.Random(key)
        humidity, generation = 40 + 45 * own.random(), 636_000_000_000_000_000 + int(own.random() * 10**15)
        body = {"humidity": humidity + 4 * (chance.random() - 0.5)}
        for axis in "XYZ":
            body[f"magnetometer{axis}"] = own.random() - 0.5 + 0.02 * (chance.random() - 0.5)
        body["connectivity"] = "connected"
        opened = device["deviceTemplate"]["id"] == VENDING and chance.random() < 0.2
        if opened:
            body["opened"] = "triggered"

        system = {
            "connectionDeviceId": key,
            "connectionAuthMethod": '{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}',
            "connectionDeviceGenerationId": str(generation),
        }
        if broken:
            body = base64.b64encode(b"\x02FAULT \xff" + bytes([int(chance.random() * 256)])).decode()
        elif device["deviceTemplate"]["id"] == COOLER:
            # Walk-in coolers do not say that they send JSON, so the hub writes their bodies in base64.
            body = base64.b64encode(json.dumps(body, separators=(",", ":")).encode()).decode()
        else:
            system.update(contentType="application/json", contentEncoding="utf-8")
        return {
            "EnqueuedTimeUtc": hub_time(time),
            "Properties": {"alert": "door"} if opened and not broken else {},
            "SystemProperties": {**system, "enqueuedTime": hub_time(time)},
            "Body": body,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=100, help="how many devices a new fleet has")
    parser.add_argument("--minutes", type=int, default=1, help="how many minutes to simulate")
    parser.add_argument("--seed", default="fleet", help="text from which everything random in a new fleet comes")
    parser.add_argument("--append", action="store_true", help="go on where the simulation stopped")
    arguments = parser.parse_args()
    if arguments.devices < 1 or arguments.minutes < 1:
        parser.error("there is at least one device, and one minute")

    kept = INPUT / "state.json"
    if arguments.append and not kept.exists():
        parser.error(f"there is no {kept} to go on from; the first call is without --append")
    fleet = Fleet(json.loads(kept.read_text())) if arguments.append else Fleet.new(arguments.seed, arguments.devices)
    INPUT.mkdir(exist_ok=True)
    mode = "ab" if arguments.append else "wb"
    with (INPUT / "registry.ndjson").open(mode) as registry, (INPUT / "telemetry.ndjson").open(mode) as telemetry:
        for _ in range(arguments.minutes):
            for file, records in zip((registry, telemetry), fleet.minute()):
                file.writelines(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)
    kept.write_text(json.dumps(fleet.state))
    print(f"minute {fleet.state['minute']}: {len(fleet.devices)} devices; their messages and changes are in input/")


if __name__ == "__main__":
    main()

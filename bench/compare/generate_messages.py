"""Generates IoT Hub messages: what Avro is measured with, the same bytes for the same count on every machine.

Twenty thousand refrigerators, the first of generate_devices.py, send for an hour; a line has 303
bytes on average, its body 101.

usage: generate_messages.py COUNT FILE
"""

import random
import sys

from generate_devices import key

count, path = int(sys.argv[1]), sys.argv[2]
DEVICES = [key(number) for number in range(20_000)]
HOUR_MS = 3_600_000
LINES = 10_000
chance = random.Random(0x1A6E_9047).random


def line(number):
    ms = HOUR_MS * number // count
    time = f"2026-03-04T06:{ms // 60_000:02}:{ms // 1_000 % 60:02}.{ms % 1_000:03}0000Z"
    # The last digit is not 0, so that every tool that parses and prints these numbers prints the same.
    x, y, z = (int(chance() * 180) * 5 + 1 for _ in range(3))
    device = DEVICES[int(chance() * len(DEVICES))]
    return (
        f'{{"EnqueuedTimeUtc":"{time}","Properties":{{}},'
        f'"SystemProperties":{{"connectionDeviceId":"{device}","enqueuedTime":"{time}"}},'
        f'"Body":{{"humidity":{40 + int(chance() * 60)}.{x:03},"magnetometerX":0.{x:03},"magnetometerY":0.{y:03},'
        f'"magnetometerZ":-0.{z:03},"opened":{"true" if z < 90 else "false"}}}}}\n'
    )


with open(path, "w", encoding="ascii", buffering=1 << 20) as file:
    for start in range(0, count, LINES):
        file.write("".join(map(line, range(start, min(start + LINES, count)))))

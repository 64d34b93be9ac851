"""Generates changes of devices: what the table of state is measured with, the same bytes for the same count everywhere.

Without --round it is COUNT `create` records of devices, each document of 385 bytes; with --round 1, 2, … the `patch`
records that come in that minute, of every tenth device, and of others each time until all had their turn.

usage: generate_devices.py [--round N] COUNT FILE
"""

import argparse

TENTH = 10
RECORDS = 10_000
LOCATIONS = ["New York", "Boston", "Chicago", "Seattle", "San Francisco", "Austin"]


def key(number):
    """A UUID for each number; an odd factor makes no two the same, and spreads neighbours."""
    digits = f"{(number + 1) * 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835 % (1 << 128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def change(operation, number, version, round_number, body):
    time = f"2026-03-04T{6 + round_number // 60:02}:{round_number % 60:02}:00.000Z"
    return (
        f'{{"operation":"{operation}","kind":"device","key":"{key(number)}","version":{version},'
        f'"time":"{time}","body":{body}}}\n'
    )


def create(number):
    reboot = f"2026-02-{1 + number % 28:02}T22:{number % 60:02}:47.156Z"
    body = (
        f'{{"id":"{key(number)}","name":"Refrigerator {number}","simulated":{"false" if number % 7 else "true"},'
        f'"deviceTemplate":{{"id":"c318d580-39fc-4aca-b995-843719821049","version":"1.0.{number % 3}"}},"properties":{{'
        f'"cloud":{{"location":"{LOCATIONS[number % 6]}","maintCon":true,"tempThresh":{20 + number % 15}}},'
        f'"device":{{"lastReboot":"{reboot}","firmware":"4.{number % 20}.1",'
        f'"serialNumber":"SN{1_000_000 + number}"}}}},"settings":{{"device":{{"fanSpeed":{number % 4}}}}}}}'
    )
    return change("create", number, 1, 0, body)


def patch(number, round_number):
    version = 2 + (round_number - 1) // TENTH
    body = f'{{"settings":{{"device":{{"fanSpeed":{4 + (number // TENTH + version) % 5}}}}}}}'
    return change("patch", number, version, round_number, body)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("file")
    parser.add_argument("--round", type=int, help="write the patches of this minute, from 1 on, instead of the devices")
    arguments = parser.parse_args()

    if arguments.round is None:
        numbers, record = range(arguments.count), create
    else:
        numbers = range((arguments.round - 1) % TENTH, arguments.count, TENTH)
        record = lambda number: patch(number, arguments.round)
    with open(arguments.file, "w", encoding="ascii", buffering=1 << 20) as file:
        for start in range(0, len(numbers), RECORDS):
            file.write("".join(map(record, numbers[start : start + RECORDS])))


if __name__ == "__main__":
    main()

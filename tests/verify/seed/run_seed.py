"""Runs one of the documentation's Python programs, as it stands beside this file, on an Avro file.

usage: run_seed.py measurements|devices|device_templates FILE
"""

import runpy
import sys
from pathlib import Path

import pandas as pd

if len(sys.argv) != 3:
    sys.exit(__doc__)
kind, file = sys.argv[1:]
# pandas would leave out what does not fit a screen; the program itself only prints.
for option in ("max_rows", "max_columns", "max_colwidth", "width"):
    pd.set_option(f"display.{option}", None)
runpy.run_path(str(Path(__file__).parent / f"{kind}.py"))["parse"](file)

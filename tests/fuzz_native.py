"""The steps in C against Python, seed by seed: `make fuzz` runs this under the address sanitizer.

A test of the suite runs a few seeds (tests/unit/core/native/test_native.py); this is for many.
"""

from __future__ import annotations

import argparse
from random import Random

from tests.native import native
from tests.random_pages import differences


def main() -> None:
    """Print the progress; exit with the first seed that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    arguments = parser.parse_args()
    if native is None:
        raise SystemExit("the steps in C are not installed")
    print(native.__file__)
    for number in range(arguments.first, arguments.first + arguments.seeds):
        if found := differences(Random(number)):
            raise SystemExit(f"seed {number}: {found}")
        if (number + 1) % 500 == 0:
            print(f"{number + 1 - arguments.first} seeds, none differs", flush=True)


if __name__ == "__main__":
    main()

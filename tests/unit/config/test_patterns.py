"""Patterns of texts within bounds: what the JSON schema of a setting takes, the program takes, and the other way."""

from __future__ import annotations

import json
import re
import tomllib
from random import Random

import jsonschema
import pytest
from pydantic import ValidationError

from tests.unit.config.required import KEYS, REQUIRED
from vortex.config.example import kind, schema
from vortex.config.patterns import whole_numbers
from vortex.config.settings import Settings, sections


@pytest.mark.parametrize("seed", range(20))
def test_whole_numbers_match_exactly_those_within_the_bounds(seed: int) -> None:
    rng = Random(seed)
    for _ in range(50):
        least = rng.choice((0, 1, 9, 10, 1000, 2**20, rng.randrange(10 ** rng.randint(1, 7))))
        most = least + rng.choice((0, 1, 9, 90, 10**6, rng.randrange(10**6)))
        bounded, open_ended = re.compile(whole_numbers(least, most)), re.compile(whole_numbers(least, None))
        near = (*range(least - 2, least + 3), *range(most - 2, most + 3), (least + most) // 2, least * 10, most * 10)
        for number in (*near, rng.randrange(10**8)):
            if number >= 0:
                assert bool(bounded.fullmatch(str(number))) == (least <= number <= most)
                assert bool(open_ended.fullmatch(str(number))) == (least <= number)


SIZES = """256 0 1 00 1024 1048576 1KiB 1023B 1.0KiB 0.99KiB 1000KB 1.024KB 1.023kb 1.5MB 64MiB 64Mi 64m 5M 1GiB 1025MiB
 5GiB 5.1GiB 5.0GiB 5.36870912GB 5.37GB 5.4gb 6GiB 1024TiB 1025TiB 0.00001GB 0.001TB 2PiB 1e6 1kb 1b 0.5b"""
TIMES = """0s 1ms 0.4ms 249ms 250ms 0.25s 0.2s 0.249s 0.3s 1s 999ms 0.999s 60s 60.0s 60.1s 61s 1m 1.0m 1.01m 7m 5m 2m
 119s 1h 61m 1.9m 0.011h 1h30m 1y2w 20m 90s 1.5s 1500ms 2000y 1000y 1000.5y 1001y 1w 5 5S 5M 1d, 1h30 m -1 -1s +5m"""
OTHERS = """auto AUTO 1_000 0x10 .5h 5.h 1,5h 75% inf nan ٣ ٣s ３ｍ ١MiB"""
SPELLED = [
    *f"{SIZES} {TIMES} {OTHERS}".split(),
    "",
    " ",
    " 64MiB ",
    "1 K iB",
    "1 mb",
    "\n5m",
    "5m\n",
    "1h 30m",
    "5\u00a0m",
]
NUMBERS = [0, 1, 256, 1023, 1024, 2**20 - 1, 2**20, 2**30, 2**30 + 1, 5 * 2**30, 5 * 2**30 + 1, 2**50, 2**50 + 1]
VALUES = [*SPELLED, *NUMBERS, -1, 1.0, 1.5, 1e300, True, False, [], ["5m"], {}, float(2**20), float(2**60)]
MEASURES = [
    (section, key) for section, key in KEYS if re.search("size|duration", kind(sections()[section].model_fields[key]))
]


def test_sizes_and_durations_are_many() -> None:
    assert len(MEASURES) >= 20


@pytest.mark.parametrize(("section", "key"), MEASURES)
def test_schema_and_program_take_the_same_sizes_and_durations(section: str, key: str) -> None:
    check = jsonschema.Draft7Validator(json.loads(schema()))
    for value in VALUES:
        document = tomllib.loads(REQUIRED) | {"hours": {"allowed_lateness": "0s"}}
        document.setdefault(section, {})[key] = value
        try:
            Settings.model_validate(document)
            taken = True
        except ValidationError:
            taken = False
        assert check.is_valid(document) == taken, value

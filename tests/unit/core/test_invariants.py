"""The invariants: each has a promise and an action, and those that `vortex verify` checks are marked."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import simulation
import vortex.verify
from vortex.core.invariants import Invariant


@pytest.mark.parametrize("one", Invariant)
def test_invariant_has_a_code_and_a_promise_and_an_action(one: Invariant) -> None:
    assert re.fullmatch(r"[ID][1-9]\d?|state", str(one))
    assert one.promise.endswith(".")
    assert one.action.endswith(".")


def test_invariant_codes_are_unique() -> None:
    assert len({one.code for one in Invariant}) == len(Invariant)


def used(package: ModuleType) -> set[Invariant]:
    """The invariants that the sources of a package name."""
    text = "".join(path.read_text() for path in Path(package.__path__[0]).glob("*.py"))
    return {Invariant[name] for name in re.findall(r"Invariant\.([A-Z_]+)", text)}


def test_invariants_marked_on_store_are_those_that_verify_names() -> None:
    assert used(vortex.verify) == {one for one in Invariant if one.on_store}


def test_simulation_checks_every_invariant() -> None:
    """Except that the state exists, which is always so in a run."""
    assert used(simulation) | {Invariant.STATE_IS_THERE} == set(Invariant)

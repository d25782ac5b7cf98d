"""The steps in C and in Python have the functions of the contract, with equal signatures."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.native import installed
from vortex.core.native import contract, pure

FOLDER = Path(contract.__file__).parent
OPAQUE = {"Paths", "Numbers"}
"""Values that only the module that made them looks into: their types differ."""
Signature = tuple[list[tuple[str, str]], int, str]
"""Names and types of the parameters, how many of them have a default, and the type of the result."""


def signatures(path: Path, owner: str = "") -> dict[str, Signature]:
    """The public functions of a module, or the public methods of a class in it. All parameters are positional."""
    body = ast.parse(path.read_text("utf-8")).body
    if owner:
        (body,) = [node.body for node in body if isinstance(node, ast.ClassDef) and node.name == owner]
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            parameters = node.args.posonlyargs[bool(owner) :]
            assert not node.args.args and not node.args.kwonlyargs, node.name
            types = [(each.arg, ast.unparse(each.annotation) if each.annotation else "") for each in parameters]
            found[node.name] = types, len(node.args.defaults), ast.unparse(node.returns) if node.returns else ""
    return found


CONTRACT = signatures(FOLDER / "contract.py", "Steps")
STUB = signatures(FOLDER.parent / "_native.pyi")
PURE = signatures(FOLDER / "pure.py")


def without_opaque(signature: Signature, like: Signature) -> Signature:
    """The signature with the opaque types of `like`, where that has them."""
    types = [
        (name, (known if known in OPAQUE else kind))
        for (name, kind), (_, known) in zip(*_pair(signature, like), strict=True)
    ]
    return types, signature[1], signature[2]


def _pair(one: Signature, other: Signature) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    assert len(one[0]) == len(other[0])
    return one[0], other[0]


def test_steps_in_c_and_in_python_are_those_of_the_contract() -> None:
    """`key_table` is built in Python on two functions in C."""
    assert set(PURE) == set(CONTRACT)
    assert set(STUB) == set(CONTRACT) - {"key_table"} | {"claim", "refill"}


@pytest.mark.parametrize("name", CONTRACT)
def test_step_has_the_signature_of_the_contract_when_it_is_in_python(name: str) -> None:
    wanted, found = CONTRACT[name], without_opaque(PURE[name], CONTRACT[name])
    assert found == (wanted if name != "key_table" else (wanted[0], wanted[1], "KeyTable"))


@pytest.mark.parametrize("name", sorted(set(CONTRACT) & set(STUB)))
def test_step_has_the_signature_of_the_contract_when_it_is_in_c(name: str) -> None:
    assert STUB[name] == CONTRACT[name]


@installed
@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_step_in_c_refuses_arguments_when_their_number_is_not_that_of_the_contract(name: str) -> None:
    """The stub says what mypy checks; this is what the program takes."""
    from vortex.core.native import compiled

    parameters, defaults, _ = CONTRACT[name]
    for number in (len(parameters) - defaults - 1, len(parameters) + 1):
        with pytest.raises(TypeError, match=r"argument|takes"):
            getattr(compiled, name)(*[b""] * number)
    assert name in compiled.__all__
    assert set(compiled.__all__) == set(CONTRACT)


@installed
def test_key_table_has_the_members_of_the_contract() -> None:
    from vortex.core.native import compiled

    members = {"held", "nbytes", "claim"}
    assert members == {name for name in vars(contract.KeyTable) if not name.startswith("_")}
    for module in (pure, compiled):
        assert members <= set(dir(module.key_table(1)))

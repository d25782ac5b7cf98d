"""The steps in C are only for little-endian machines: on others their hashes would differ."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from vortex.core import native as usual

NATIVE = Path(__file__).parents[4] / "native"


def loaded_again() -> ModuleType:
    """The module that loads the C extension, loaded a second time."""
    spec = importlib.util.spec_from_file_location("native_again", usual.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_native_is_not_loaded_on_a_big_endian_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the extension file is there; Python does the work."""
    assert loaded_again().steps is usual.steps
    monkeypatch.setattr(sys, "byteorder", "big")
    monkeypatch.delitem(sys.modules, "vortex.core.native.compiled", raising=False)
    monkeypatch.delattr(usual, "compiled", raising=False)
    assert not loaded_again().IN_C


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize(("order", "well"), [("__ORDER_LITTLE_ENDIAN__", True), ("__ORDER_BIG_ENDIAN__", False)])
def test_native_does_not_compile_for_a_big_endian_machine(order: str, well: bool, tmp_path: Path) -> None:
    """Every source file of it."""
    (tmp_path / "Python.h").write_text("")  # only the check before it matters
    for source in sorted(NATIVE.glob("*.c")):
        command = ["cc", "-E", "-Wno-builtin-macro-redefined", f"-D__BYTE_ORDER__={order}"]
        include = sysconfig.get_path("include")
        include = include if (Path(include) / "Python.h").exists() else str(tmp_path)
        done = subprocess.run([*command, f"-I{include}", str(source)], capture_output=True, text=True)
        assert (done.returncode == 0) == well, f"{source.name}: {done.stderr}"
        assert ("only little-endian machines are supported" in done.stderr) != well

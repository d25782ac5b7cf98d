"""What pyproject.toml cannot say about the steps in C."""

import os
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise SystemExit(
        "Vortex is not built for free-threaded Python: its steps in C use the stable ABI, which that does not have. "
        "Use the ordinary build of the same version."
    )

REQUIRE = "VORTEX_REQUIRE_NATIVE"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def required() -> bool:
    """Whether a failing compiler is an error."""
    value = os.environ.get(REQUIRE, "").strip().lower()
    if value not in (*_YES, *_NO):
        raise SystemExit(f"{REQUIRE} is {value!r}; write {', '.join(_YES)}, or {', '.join(_NO[:-1])}")
    return value in _YES


class BuildSteps(build_ext):
    """Without a compiler the install goes on, unless VORTEX_REQUIRE_NATIVE says that it must not."""

    def run(self) -> None:
        """Build; what could not be built is no part of the distribution."""
        self._built: list[Any] = []
        super().run()
        if len(self._built) < len(self.extensions):
            self.warn("no steps in C: Vortex needs twice the CPU. Install a C compiler and Python's headers")
            self.extensions = self.distribution.ext_modules = self._built

    def build_extension(self, ext: Any) -> None:
        """One extension."""
        if NATIVE_REQUIRED:
            ext.optional = False
        ext.define_macros = [tuple(macro) for macro in ext.define_macros]  # lists in TOML, which setuptools 77 refuses
        library = Path(self.get_ext_fullpath(ext.name))
        try:
            super().build_extension(ext)
        except BaseException:
            library.unlink(missing_ok=True)  # that of an earlier build: other steps than these
            if NATIVE_REQUIRED:
                self.warn(f"{REQUIRE} is set: install a C compiler and Python's headers, or install without {REQUIRE}")
            raise
        self._built.append(ext)


class Wheel(bdist_wheel):
    """A wheel is named after what was built: without the steps in C it is for every platform."""

    def run(self) -> None:
        """Build, then pack."""
        if not self.skip_build:
            self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


NATIVE_REQUIRED = required()  # before anything is built, and whatever is asked of this file
setup(cmdclass={"build_ext": BuildSteps, "bdist_wheel": Wheel})

"""What pyproject.toml cannot say about the steps in C."""

import os
import sysconfig
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise SystemExit(
        "Vortex is not built for free-threaded Python: its steps in C use the stable ABI, which that does not have. "
        "Use the ordinary build of the same version."
    )


class BuildSteps(build_ext):
    """Without a compiler the install goes on, unless VORTEX_REQUIRE_NATIVE=1 says that it must not."""

    def build_extension(self, ext: Any) -> None:
        """One extension."""
        if os.environ.get("VORTEX_REQUIRE_NATIVE") == "1":
            ext.optional = False
        super().build_extension(ext)


setup(cmdclass={"build_ext": BuildSteps})

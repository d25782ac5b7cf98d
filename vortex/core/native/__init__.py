"""The most expensive steps: `steps` has them in C if that is installed, else in Python (see `contract`).

The choice is made only here; callers do not depend on it.
"""

from __future__ import annotations

from vortex.core.native import pure
from vortex.core.native.contract import Steps

__all__ = ["IN_C", "steps"]

steps: Steps = pure
try:
    from vortex.core.native import compiled

    steps = compiled
except ImportError:
    pass
IN_C = steps is not pure

"""The settings by which a shard is processed, the same for all shards of a process."""

from __future__ import annotations

from dataclasses import dataclass

from vortex.core.decode.decoder import Decoder
from vortex.core.decode.limits import DEFAULT, Limits
from vortex.core.layout import Layout
from vortex.core.periods import Rules


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings for processing events; `fingerprint` is stored in every footer for diagnosis."""

    decoder: Decoder
    layout: Layout
    rules: Rules
    window_ms: int
    seed: int
    fingerprint: str = ""
    limits: Limits = DEFAULT

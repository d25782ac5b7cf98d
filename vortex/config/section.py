"""The base class of all sections of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationInfo

from vortex.config import places
from vortex.config.quoting import quoted


class Section(BaseModel):
    """A table of the settings file. Its docstring is its description; each field has one of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def section_region(value: str | None, of_arn: str | None, info: ValidationInfo) -> str | None:
    """A section's region, checked: `of_arn` is the one that an ARN in it names. Raises ValueError."""
    if value is not None:
        places.region(value, of_aws=not info.data.get("endpoint_url"))
        if of_arn not in (None, value):
            raise ValueError(f"{quoted(value)} is not the region of the ARN, {quoted(of_arn)}; leave the setting out")
    return value

"""What the publisher takes from the settings."""

from __future__ import annotations

import pytest

from vortex.config.settings import Settings
from vortex.runtime.environment import publish_rules


@pytest.mark.parametrize(("small", "bundle"), [("0", 0), ("64KiB", 64 * 1024), ("1GiB", 8 * 1024 * 1024)])
def test_publish_rules_bundle_what_is_below_layout_small_and_never_what_fills_an_object(
    small: str, bundle: int
) -> None:
    settings = Settings.model_validate(
        {
            "source": {"stream": "s"},
            "event": {"customer": "c", "type": "t", "id": "id", "time": "at"},
            "store": {"url": "file:///nowhere"},
            "layout": {"small": small},
            "publish": {"target_object_size": "8MiB"},
        }
    )
    assert publish_rules(settings).bundle == bundle

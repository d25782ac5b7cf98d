"""What the publisher takes from the settings."""

from __future__ import annotations

import pytest

from vortex.config.settings import Settings
from vortex.core.publish.bundles import BUNDLE_BYTES
from vortex.runtime.environment import publish_rules


@pytest.mark.parametrize(
    ("small", "target", "bundle"),
    [
        ("0", "8MiB", 0),
        ("64KiB", "8MiB", 64 * 1024),
        ("1GiB", "8MiB", 8 * 1024 * 1024),
        ("1GiB", "1GiB", BUNDLE_BYTES),
    ],
)
def test_publish_rules_bundle_what_is_below_layout_small_and_never_what_fills_an_object_or_a_bundle(
    small: str, target: str, bundle: int
) -> None:
    settings = Settings.model_validate(
        {
            "source": {"stream": "s"},
            "event": {"customer": "c", "type": "t", "id": "id", "time": "at"},
            "store": {"url": "file:///nowhere"},
            "layout": {"small": small},
            "publish": {"target_object_size": target},
        }
    )
    assert publish_rules(settings).bundle == bundle

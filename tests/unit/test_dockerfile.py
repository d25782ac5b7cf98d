"""What the image promises, read from its Dockerfile; `make test-image` executes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.image.dockerfile import Copy, Run, Stage, stages
from vortex.config.example import example
from vortex.config.loading import load

ROOT = Path(__file__).parents[2]
PINNED = "python:3.13-slim@sha256:0123"


@pytest.fixture
def image() -> list[Stage]:
    return stages((ROOT / "Dockerfile").read_text("utf-8"), PYTHON=PINNED, VERSION="1.2.3", REVISION="abc")


def test_every_stage_is_made_from_the_pinned_base(image: list[Stage]) -> None:
    assert [stage.base for stage in image] == [PINNED, PINNED]


def test_steps_in_c_are_required_when_the_image_is_built(image: list[Stage]) -> None:
    (build, _) = image
    install = build.steps[-1]
    assert isinstance(install, Run)
    assert "pip install" in install.command
    assert install.environment["VORTEX_REQUIRE_NATIVE"] == "1"


def test_image_installs_no_compiler_and_copies_only_the_installed_package(image: list[Stage]) -> None:
    commands = [step.command for step in image[-1].steps if isinstance(step, Run)]
    copies = [step for step in image[-1].steps if isinstance(step, Copy)]
    assert commands == ["useradd --system --uid 10001 --no-create-home vortex"]
    assert copies == [Copy(("/opt/vortex",), "/opt/vortex", "build")]


def test_image_runs_a_worker_as_a_user_without_rights(image: list[Stage]) -> None:
    assert image[-1].user == "10001"
    assert image[-1].command_line() == ["vortex", "run"]
    assert image[-1].stop_signal == "SIGTERM"


def test_health_check_reads_the_settings_of_the_worker(image: list[Stage]) -> None:
    """So it follows http.port, and VORTEX_CONFIG."""
    assert image[-1].health_check == ["vortex", "health"]
    assert image[-1].environment["VORTEX_CONFIG"] == "/etc/vortex/vortex.toml"


def test_settings_of_the_image_are_weaker_than_those_of_a_file(image: list[Stage], tmp_path: Path) -> None:
    """A variable of a setting would be stronger: a file's http.host = "::" would have no effect."""
    given = image[-1].environment
    assert not any("__" in name for name in given)
    path = tmp_path / "v.toml"
    path.write_text(example())
    settings = load(path, given)
    assert (settings.http.host, settings.log.format) == ("0.0.0.0", "json")
    path.write_text(re.sub(r'# host = "127.0.0.1"', 'host = "::"', example()))
    assert load(path, given).http.host == "::"


def test_labels_name_version_revision_and_base(image: list[Stage]) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in image[-1].labels.items()}
    assert (labels["version"], labels["revision"], labels["base.name"]) == ("1.2.3", "abc", PINNED)


def test_context_holds_all_that_is_copied(image: list[Stage]) -> None:
    sources = [name for step in image[0].steps if isinstance(step, Copy) for name in step.sources]
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert all((ROOT / name).exists() and name not in ignored for name in sources)


def test_unknown_instruction_is_an_error() -> None:
    """Else the test of the image would leave out a step."""
    with pytest.raises(ValueError, match="VOLUME"):
        stages("FROM a\nVOLUME /data\n")

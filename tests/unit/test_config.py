"""Settings: what is unknown is refused, what is wrong is named, and the shipped example is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.config import ConfigError, commented_default, known_keys, load
from vortex.units import duration_ms, size_bytes
from vortex.wiring import table_name

REPOSITORY = Path(__file__).parents[2]
LEAST = """
[source]
stream = "s"
[event]
customer = "c"
type = ["a.b", "t"]
id = "i"
time = "x"
[store]
url = "s3://bucket/prefix"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the least that must be said."""
    path = tmp_path / "v.toml"
    path.write_text(LEAST)
    return path


def faults(path: Path | None, environ: dict[str, str] | None = None) -> str:
    """The message of the error."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return str(caught.value)


def test_the_least_is_enough(file: Path) -> None:
    """Stream, store and the event fields; everything else has a default."""
    settings = load(file, {})
    assert settings.event.type == ("a.b", "t")
    assert settings.event.customer == ("c",)
    assert (settings.publish.period, settings.hours.allowed_lateness) == (300_000, 60_000)
    assert settings.http.host == "127.0.0.1"
    assert settings.hours.max_delay is None


def test_the_example_loads_and_shows_the_defaults(tmp_path: Path, file: Path) -> None:
    """What it writes out as defaults are the defaults."""
    shipped = (REPOSITORY / "config.example.toml").read_text()
    assert shipped == commented_default()
    path = tmp_path / "example.toml"
    path.write_text(shipped)
    example, least = load(path, {}), load(file, {})
    for section in (
        "dedup",
        "layout",
        "commit",
        "publish",
        "hours",
        "coordination",
        "memory",
        "http",
        "log",
        "shutdown",
    ):
        assert getattr(example, section) == getattr(least, section), section
    for section, keys in known_keys().items():
        assert f"[{section}]" in shipped
        for key in keys:
            assert f"\n{key} = " in shipped or f"\n# {key} = " in shipped, f"{section}.{key}"


def test_the_environment_lies_over_the_file(file: Path) -> None:
    """Each key; lists as JSON or with commas."""
    settings = load(
        file,
        {
            "VORTEX_STORE__URL": "file:///data",
            "VORTEX_EVENT__ID": '["p.q", "r"]',
            "VORTEX_EVENT__TIME": "u, v",
            "VORTEX_HTTP__PORT": "0",
            "VORTEX_MEMORY__LIMIT": "2GiB",
            "PATH": "x",
        },
    )
    assert settings.store.url == "file:///data"
    assert settings.event.id == ("p.q", "r")
    assert settings.event.time == ("u", "v")
    assert (settings.http.port, settings.memory.limit) == (0, 2 * 2**30)


def test_the_environment_alone_is_enough() -> None:
    """A container needs no file."""
    names = {"SOURCE__STREAM": "s", "STORE__URL": "s3://b/p"} | {
        f"EVENT__{n}": n.lower() for n in ("CUSTOMER", "TYPE", "ID", "TIME")
    }
    assert load(None, {f"VORTEX_{name}": value for name, value in names.items()}).source.stream == "s"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[comit]\nevery='1s'", "comit: no such setting; did you mean 'commit'?"),
        ("[commit]\nevry='1s'", "commit.evry: no such setting; did you mean 'every'?"),
        ("[commit]\nevery='soon'", "commit.every (or VORTEX_COMMIT__EVERY): 'soon' is no duration"),
        ("[commit]\nevery='0s'", "commit.every"),
        ("[commit]\nmax_bytes='many'", "is no size"),
        ("[publish]\nperiod='7m'", "must divide an hour"),
        ("[publish]\ntarget_object_size=0", "publish.target_object_size"),
        ("[hours]\nmax_delay='1m'", 'hours.max_delay (or VORTEX_HOURS__MAX_DELAY): must be at least "180s"'),
        ("[hours]\nallowed_lateness='1h'\nmax_delay='1h'", 'must be at least "3720s"'),
        ("[layout]\npath='x/{customer}'", "missing"),
        ("[http]\nport=70000", "http.port"),
        ("[coordination]\nmode='zookeeper'", "coordination.mode"),
        ("[coordination]\ntable='a/b'", "coordination.table"),
        ("[coordination]\nfailover='10ms'", 'must be at least "1s"'),
        ("[hours", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(file: Path, more: str, told: str) -> None:
    """The file, the key, the variable, and the nearest known key."""
    file.write_text(LEAST + more)
    message = faults(file)
    assert told in message
    assert str(file) in message


def test_the_least_delay_is_taken(file: Path) -> None:
    """Shards that keep up are never behind by more than the lateness and two minutes."""
    file.write_text(LEAST + "[hours]\nallowed_lateness='1h'\nmax_delay='1h2m'")
    assert load(file, {}).hours.max_delay == 3_720_000


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """Sections and keys, all of them at once."""
    path = tmp_path / "v.toml"
    path.write_text("[source]\n")
    message = faults(path)
    assert "source.stream: must be set (or VORTEX_SOURCE__STREAM" in message
    assert "[event]: the section is missing" in message
    assert "[store]" in message
    assert "vortex init" in faults(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("variable", "told"),
    [("VORTEX_STORE__URI", "did you mean VORTEX_STORE__URL?"), ("VORTEX_DEBUG", "no such setting")],
)
def test_unknown_variables_are_refused(file: Path, variable: str, told: str) -> None:
    """A typo in the environment must not pass in silence."""
    assert told in faults(file, {variable: "x"})


@pytest.mark.parametrize("poll", ["0s", "200ms", "61s"])
def test_a_pace_out_of_bounds(file: Path, poll: str) -> None:
    """Five calls a second are allowed; a shard that is asked too seldom holds everybody's hours."""
    assert 'source.poll (or VORTEX_SOURCE__POLL): must be between "250ms" and "1m"' in faults(
        file, {"VORTEX_SOURCE__POLL": poll}
    )


@pytest.mark.parametrize(
    ("stream", "told", "name"),
    [
        ("clicks", None, "vortex-clicks"),
        ("arn:aws:kinesis:eu-central-1:123456789012:stream/clicks", None, "vortex-clicks"),
        ("clicks", "my-kcl-application", "my-kcl-application"),
    ],
)
def test_the_lease_table_has_a_name(file: Path, stream: str, told: str | None, name: str) -> None:
    """The stream's, unless another is given: a KCL application's table is named after the application."""
    given = {"VORTEX_COORDINATION__TABLE": told} if told else {}
    assert table_name(load(file, {"VORTEX_SOURCE__STREAM": stream, **given})) == name


@pytest.mark.parametrize("url", ["bucket", "s3://", "http://x/y", "file://relative", "file:///"])
def test_only_stores_that_exist_are_taken(file: Path, url: str) -> None:
    """With how to write one."""
    assert "s3://bucket/prefix" in faults(file, {"VORTEX_STORE__URL": url})


@pytest.mark.parametrize(
    ("text", "ms"),
    [("30s", 30_000), ("1h30m", 5_400_000), ("250ms", 250), ("1.5h", 5_400_000), ("20y", 631_152_000_000)],
)
def test_durations(text: str, ms: int) -> None:
    """As people write them."""
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "m", "5 parsecs", "-5s", "5s5", 5, None])
def test_no_durations(text: object) -> None:
    """A unit must be said."""
    with pytest.raises(ValueError, match="no duration"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 2**26), ("10MB", 10**7), ("1.5 KiB", 1536), (1024, 1024), ("7", 7)]
)
def test_sizes(text: object, size: int) -> None:
    """As people write them."""
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "5XB", "-1", True, None, 1.5])
def test_no_sizes(text: object) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="no size"):
        size_bytes(text)

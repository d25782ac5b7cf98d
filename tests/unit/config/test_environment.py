"""Settings in environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.config.required import KEYS, check_loads_or_is_refused, message_of
from vortex.config.environment import unheard
from vortex.config.loading import ConfigError, load, origins
from vortex.config.settings import known_keys


def test_environment_variables_override_the_file(file: Path) -> None:
    """Every key; lists as JSON or with commas."""
    settings = load(
        file,
        {
            "VORTEX_STORE__URL": "file:///data",
            "VORTEX_EVENT__ID": '["p.q", "r"]',
            "VORTEX_EVENT__TIME": "u, v",
            "VORTEX_EVENT__TIME_FORMAT": "%a, %d %b %Y %T %Z",
            "VORTEX_HTTP__PORT": "0",
            "VORTEX_MEMORY__LIMIT": "2GiB",
            "PATH": "x",
        },
    )
    assert settings.store.url == "file:///data"
    assert settings.event.id == ("p.q", "r")
    assert settings.event.time == ("u", "v")
    assert settings.event.time_format == ("%a, %d %b %Y %T %Z",), "a comma is part of the pattern"
    assert (settings.http.port, settings.memory.limit) == (0, 2 * 2**30)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("%d/%b/%Y", ("%d/%b/%Y",)),
        ("[%d/%b/%Y:%T %z]", ("[%d/%b/%Y:%T %z]",)),
        ('["%F", "[%d/%b/%Y]"]', ("%F", "[%d/%b/%Y]")),
    ],
)
def test_time_format_variable_is_one_pattern_or_a_json_list(file: Path, text: str, patterns: tuple[str, ...]) -> None:
    """As in the file."""
    assert load(file, {"VORTEX_EVENT__TIME_FORMAT": text}).event.time_format == patterns


def test_settings_load_from_the_environment_without_a_file() -> None:
    """As in a container."""
    names = {"SOURCE__STREAM": "s", "STORE__URL": "s3://b/p"} | {
        f"EVENT__{n}": n.lower() for n in ("CUSTOMER", "TYPE", "ID", "TIME")
    }
    assert load(None, {f"VORTEX_{name}": value for name, value in names.items()}).source.stream == "s"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SOURCE__STREAM": "a b"}, "source.stream (or VORTEX_SOURCE__STREAM): 'a b' is not a stream name"),
        ({"SOURCE__STREAM": "arn:aws:kinesis:::x"}, "is not the ARN of a stream"),
        (
            {"SOURCE__ENDPOINT_URL": "localhost:1"},
            'source.endpoint_url (or VORTEX_SOURCE__ENDPOINT_URL): the scheme is missing or unknown; write "https://',
        ),
        ({"SOURCE__REGION": "mars"}, "source.region (or VORTEX_SOURCE__REGION): 'mars' is not a region"),
        (
            {"SOURCE__STREAM": f"arn:aws:kinesis:eu-west-1:{'1' * 12}:stream/s", "SOURCE__REGION": "eu-west-2"},
            "source.region (or VORTEX_SOURCE__REGION): 'eu-west-2' is not the region of the ARN, 'eu-west-1'",
        ),
        (
            {"STORE__URL": f"s3://arn:aws:s3:eu-west-1:{'1' * 12}:accesspoint/abc", "STORE__REGION": "eu-west-2"},
            "store.region (or VORTEX_STORE__REGION): 'eu-west-2' is not the region of the ARN, 'eu-west-1'",
        ),
        ({"SOURCE__START": "yesterday"}, 'or "2026-01-31T00:00:00Z", or "trim_horizon" or "latest"'),
        ({"SOURCE__START": "0001-01-01T00:00:00+23:00"}, "is before 1970 or after 9999"),
        ({"EVENT__ID": '["a", '}, "is not a JSON list"),
        (
            {"EVENT__TIME_FORMAT": '["%F", "%d %Q %Y"]'},
            "event.time_format (or VORTEX_EVENT__TIME_FORMAT): '%d %Q %Y': unknown directive %Q",
        ),
        ({"EVENT__TIME_FORMAT": "%H:%M"}, "'%H:%M' must have a year"),
        ({"EVENT__TIME_FORMAT": "[5]"}, "write a pattern such as"),
        (
            {"EVENT__MAX_BYTES": "100"},
            'event.max_bytes (or VORTEX_EVENT__MAX_BYTES): must be between "1KiB" and "1GiB"',
        ),
        ({"EVENT__LONE_SURROGATES": "drop"}, "event.lone_surrogates (or VORTEX_EVENT__LONE_SURROGATES)"),
        ({"EVENT__ID": "a..b"}, "'a..b' is not a dotted path"),
        ({"EVENT__ID": ""}, "is not a dotted path"),
        (
            {"EVENT__ID": "a\nb"},
            "event.id (or VORTEX_EVENT__ID): 'a\\nb' has a quote, a backslash, a control character",
        ),
        ({"EVENT__CUSTOMER": 'a"b'}, "event.customer (or VORTEX_EVENT__CUSTOMER): 'a\"b' has a quote"),
        ({"EVENT__TIME": r'["a\\b"]'}, "event.time (or VORTEX_EVENT__TIME)"),
        ({"EVENT__TYPE": r'["\ud800"]'}, "half a character in a key"),
        ({"EVENT__ID": ".".join("a" * 2000)}, "a path may have at most 100 keys; 'a.a.a.a.a.a.a.a.a.a.'... has more"),
        ({"STORE__URL": "s3://b/\udcff"}, "cannot be printed"),
    ],
)
def test_wrong_settings_in_the_environment_are_named(file: Path, environ: dict[str, str], expected: str) -> None:
    """By key and variable."""
    message = message_of(file, {f"VORTEX_{name}": value for name, value in environ.items()})
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("VORTEX_STORE__URI", "did you mean VORTEX_STORE__URL?"),
        ("VORTEX_HTP__PORT", "did you mean VORTEX_HTTP__PORT?"),
        ("vortex_store__uri", "did you mean VORTEX_STORE__URL?"),
        ("VORTEX__URL", "unknown setting"),
        ("VORTEX_STORE__URL__X", "unknown setting"),
    ],
)
def test_unknown_variables_are_refused_with_the_nearest_known_one(file: Path, variable: str, expected: str) -> None:
    """A typo in the environment must not be ignored."""
    message = message_of(file, {variable: "9400"})
    assert expected in message
    assert variable in message


SERVICE = {
    "VORTEX_PORT": "tcp://10.0.0.1:9400",
    "VORTEX_SERVICE_HOST": "10.0.0.1",
    "VORTEX_SERVICE_PORT": "9400",
    "VORTEX_SERVICE_PORT_HTTP": "9400",
    "VORTEX_SERVICE_PORT_HTTP__METRICS": "9400",
    "VORTEX_PORT_9400_TCP": "tcp://10.0.0.1:9400",
    "VORTEX_PORT_9400_TCP_ADDR": "10.0.0.1",
    "VORTEX_PORT_9400_TCP_PROTO": "tcp",
    "VORTEX_HTTP_PORT": "tcp://10.0.0.1:9400",
    "VORTEX__HTTP_PORT": "tcp://10.0.0.1:9400",
    "VORTEX__HTTP_SERVICE_PORT": "9400",
    "VORTEX_DEBUG": "1",
}
"""Variables that Kubernetes sets in each pod for Services named `vortex`, `vortex-http` and `vortex--http`."""


def test_variables_of_kubernetes_services_set_nothing(file: Path) -> None:
    """Pods get variables for each Service of their namespace, which begin with its name."""
    assert load(file, SERVICE) == load(file, {})
    assert unheard(SERVICE, known_keys()) == []


def test_unheard_names_variables_with_one_underscore_too_few(file: Path) -> None:
    """They set nothing; the log names the variable that was meant."""
    environ = {"VORTEX_STORE_URL": "s3://other", "vortex_commit_max_bytes": "1MiB", "VORTEX_PORT": "1"}
    assert load(file, environ) == load(file, {})
    assert unheard(environ, known_keys()) == [
        "environment: VORTEX_STORE_URL: not a setting, has no effect; did you mean VORTEX_STORE__URL?",
        "environment: vortex_commit_max_bytes: not a setting, has no effect; did you mean VORTEX_COMMIT__MAX_BYTES?",
    ]


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "-1", "0", "1e9", "nan", "∞", "9" * 400, "{", "{}", "{customer}", "[", "[[", "a,,b", "%"]
    ),
    st.sampled_from(["s3://", "file://", "arn:", "http://", "unix:", "1970-01-01", "5m5", "٣s", "\ud800", "a\nb"]),
)


@pytest.mark.parametrize(("section", "key"), KEYS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=TEXTS)
def test_any_text_in_a_variable_loads_or_raises_config_error(section: str, key: str, value: str, file: Path) -> None:
    check_loads_or_is_refused(file, {f"VORTEX_{section}__{key}".upper(): value})


IMAGE = {"VORTEX_DEFAULTS": "http.host=0.0.0.0 log.format=json"}


def test_file_and_variable_are_stronger_than_the_defaults_of_the_image(file: Path) -> None:
    plain = load(file, IMAGE)
    assert (plain.http.host, plain.log.format, plain.http.port) == ("0.0.0.0", "json", 9400)
    assert origins(file, IMAGE)["http", "host"] == "VORTEX_DEFAULTS"
    file.write_text(file.read_text() + '[http]\nhost = "::"\n[log]\nlevel = "warning"\nformat = "text"\n')
    filed = load(file, IMAGE)
    assert (filed.http.host, filed.log.format, filed.log.level) == ("::", "text", "warning")
    assert origins(file, IMAGE)["http", "host"] == str(file)
    said = load(file, {**IMAGE, "VORTEX_HTTP__HOST": "10.1.2.3"})
    assert (said.http.host, said.log.format) == ("10.1.2.3", "text")


def test_defaults_of_the_image_count_where_there_is_no_file() -> None:
    given = {"VORTEX_SOURCE__STREAM": "s", "VORTEX_STORE__URL": "file:///data"}
    given |= {f"VORTEX_EVENT__{key}": "a" for key in ("CUSTOMER", "TYPE", "ID", "TIME")}
    assert load(None, IMAGE | given).http.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http.hots=0.0.0.0", "VORTEX_DEFAULTS: http.hots: unknown setting"),
        ("http", "VORTEX_DEFAULTS: 'http' is no setting; write section.key=value"),
        ("http.port=x", "http.port"),
    ],
)
def test_wrong_default_is_named(file: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, {"VORTEX_DEFAULTS": text})
    assert said in str(caught.value)

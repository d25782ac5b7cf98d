"""Settings: what is unknown is refused, what is wrong is named, and the shipped example is true."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vortex.config.environment import unheard
from vortex.config.loading import ConfigError, load
from vortex.config.settings import known_keys
from vortex.runtime.factories import table_name

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


def test_the_environment_lies_over_the_file(file: Path) -> None:
    """Each key; lists as JSON or with commas."""
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
    assert settings.event.time_format == ("%a, %d %b %Y %T %Z",), "a comma is a part of it"
    assert (settings.http.port, settings.memory.limit) == (0, 2 * 2**30)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("%d/%b/%Y", ("%d/%b/%Y",)),
        ("[%d/%b/%Y:%T %z]", ("[%d/%b/%Y:%T %z]",)),
        ('["%F", "[%d/%b/%Y]"]', ("%F", "[%d/%b/%Y]")),
    ],
)
def test_time_formats_are_one_or_several(file: Path, text: str, patterns: tuple[str, ...]) -> None:
    """In the environment as in the file, where a list is one."""
    assert load(file, {"VORTEX_EVENT__TIME_FORMAT": text}).event.time_format == patterns


def test_the_environment_alone_is_enough() -> None:
    """A container needs no file."""
    names = {"SOURCE__STREAM": "s", "STORE__URL": "s3://b/p"} | {
        f"EVENT__{n}": n.lower() for n in ("CUSTOMER", "TYPE", "ID", "TIME")
    }
    assert load(None, {f"VORTEX_{name}": value for name, value in names.items()}).source.stream == "s"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[comit]\nevery='1s'", "comit: unknown section; did you mean 'commit'?"),
        ("[commit]\nevry='1s'", "commit.evry: unknown setting; did you mean 'every'?"),
        ("[commit]\nevery='soon'", "commit.every (or VORTEX_COMMIT__EVERY): invalid duration 'soon'"),
        ("[commit]\nevery='0s'", "commit.every"),
        ("[commit]\nmax_bytes='many'", "invalid size"),
        ("[publish]\nperiod='7m'", "must divide an hour"),
        ("[publish]\ntarget_object_size=0", "publish.target_object_size"),
        ("[hours]\nmax_delay='1m'", 'hours.max_delay (or VORTEX_HOURS__MAX_DELAY): must be at least "3m"'),
        ("[hours]\nallowed_lateness='1h'\nmax_delay='1h'", 'must be at least "62m"'),
        ("[layout]\npath='x/{customer}'", "layout.path (or VORTEX_LAYOUT__PATH): 'x/{customer}': must have each of"),
        ("[layout]\npath='{'", "layout.path (or VORTEX_LAYOUT__PATH): '{': "),
        ("[layout]\nrejected='x'", "layout.rejected (or VORTEX_LAYOUT__REJECTED): 'x': must have each of"),
        (
            "[layout]\npath='_rejected/c={customer}/{event_type}/{date}/{hour}'",
            "layout.rejected (or VORTEX_LAYOUT__REJECTED): rejected '_rejected/date={date}/hour={hour}' must",
        ),
        (
            "[layout]\npath='_vortex/c={customer}/{event_type}/{date}/{hour}'",
            "layout.path (or VORTEX_LAYOUT__PATH): '_vortex/c={customer}/{event_type}/{date}/{hour}': '_vortex'",
        ),
        ("[http]\nport=70000", "http.port"),
        ("[coordination]\nmode='zookeeper'", "coordination.mode"),
        ("[coordination]\ntable='a/b'", "coordination.table"),
        ("[coordination]\nfailover='10ms'", 'must be at least "1s"'),
        ("[hours", "is not valid TOML"),
        ("[commit]\nevery='-5s'", "invalid duration '-5s'"),
        ("[commit]\nmax_bytes=-1", "invalid size"),
        ("[commit]\nmax_bytes='6GiB'", 'commit.max_bytes (or VORTEX_COMMIT__MAX_BYTES): must be at most "5GiB"'),
        ("[commit]\nkeep='" + "9" * 400 + "d'", "commit.keep (or VORTEX_COMMIT__KEEP)"),
        ("[dedup]\nwindow='5000y'", "the longest duration is 1000 years"),
        ("[memory]\nlimit='" + "9" * 400 + "'", "the largest size is 1 PiB"),
        ("[publish]\ntarget_object_size='1TiB'", "publish.target_object_size"),
        ("[http]\nport=-1", "http.port"),
        ("[http]\nport='http'", "http.port"),
        ("[http]\nhost='http://0.0.0.0'", "http.host (or VORTEX_HTTP__HOST): 'http://0.0.0.0' is not a host"),
        (
            "[http]\nhost='unix:/" + "a" * 200 + "'",
            "http.host (or VORTEX_HTTP__HOST): the path of a socket has at most",
        ),
        ("[log]\nlevel='loud'", "log.level (or VORTEX_LOG__LEVEL)"),
        ("[coordination]\nendpoint_url='db:8000'", "coordination.endpoint_url (or VORTEX_COORDINATION__ENDPOINT_URL)"),
        (
            "[coordination]\nregion='mars'",
            "coordination.region (or VORTEX_COORDINATION__REGION): 'mars' is not",
        ),
        ("x = 1", "store.x: unknown setting"),
        ("kms_key_id='alias/a'", "store.kms_key_id (or VORTEX_STORE__KMS_KEY_ID): needs store.server_side_encryption"),
        ("kms_key_id='a'\nserver_side_encryption='aws:kms'", "is not a KMS key"),
        (
            "expected_bucket_owner='me'",
            "store.expected_bucket_owner (or VORTEX_STORE__EXPECTED_BUCKET_OWNER): 'me'",
        ),
        ("region='eu-central-1b'", "store.region (or VORTEX_STORE__REGION): 'eu-central-1b' is not a region"),
        ('"a\\nb" = 1', "store.'a\\nb': unknown setting"),
        ("n = 1" + "0" * 5000, "is not valid TOML"),
        ("n = " + "[" * 5000, "is not valid TOML"),
        ("commit = 5", "store.commit: unknown setting"),
        ("[http]\n[[commit]]\nevery='1s'", "commit: must be a section; write [commit], and its keys below it"),
    ],
)
def test_what_is_wrong_is_named(file: Path, more: str, told: str) -> None:
    """The file, the key, the variable, and the nearest known key."""
    file.write_text(LEAST + more)
    message = faults(file)
    assert told in message
    assert message.startswith(f"{file}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("environ", "told"),
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
        ({"SOURCE__START": "yesterday"}, 'for example "2026-01-31T00:00:00Z", or "trim_horizon" or "latest"'),
        ({"SOURCE__START": "0001-01-01T00:00:00+23:00"}, "write a time after 1970"),
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
        ({"STORE__URL": "s3://b/\udcff"}, "cannot be printed"),
    ],
)
def test_what_the_environment_sets_wrong_is_named(file: Path, environ: dict[str, str], told: str) -> None:
    """By its key and its variable."""
    message = faults(file, {f"VORTEX_{name}": value for name, value in environ.items()})
    assert told in message
    assert "\n" not in message


def test_a_region_has_any_name_where_an_endpoint_is_set(file: Path) -> None:
    """Servers that are not AWS call theirs as they like."""
    environ = {"VORTEX_STORE__ENDPOINT_URL": "http://s3:9000", "VORTEX_STORE__REGION": "auto"}
    assert load(file, environ).store.region == "auto"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With why: a folder, no permission, another encoding."""
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe9'")
    assert "is not UTF-8" in faults(tmp_path / "latin.toml")
    assert faults(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_the_least_delay_is_taken(file: Path) -> None:
    """Shards that keep up are never behind by more than the lateness and two minutes."""
    file.write_text(LEAST + "[hours]\nallowed_lateness='1h'\nmax_delay='1h2m'")
    assert load(file, {}).hours.max_delay == 3_720_000


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """Sections and keys, all of them at once."""
    path = tmp_path / "v.toml"
    path.write_text("[source]\n")
    message = faults(path)
    assert "source.stream (or VORTEX_SOURCE__STREAM): missing required setting" in message
    assert "missing required section [event]" in message
    assert "[store]" in message
    assert "vortex init" in faults(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("VORTEX_STORE__URI", "did you mean VORTEX_STORE__URL?"),
        ("VORTEX_HTP__PORT", "did you mean VORTEX_HTTP__PORT?"),
        ("vortex_store__uri", "did you mean VORTEX_STORE__URL?"),
        ("VORTEX__URL", "unknown setting"),
        ("VORTEX_STORE__URL__X", "unknown setting"),
    ],
)
def test_unknown_variables_are_refused(file: Path, variable: str, told: str) -> None:
    """A typo in the environment must not pass in silence."""
    message = faults(file, {variable: "9400"})
    assert told in message
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
"""What Kubernetes puts into each pod for Services called `vortex`, `vortex-http` and `vortex--http`."""


def test_a_service_named_like_the_program_sets_nothing(file: Path) -> None:
    """Pods are told of every Service of their namespace, in variables that begin with its name."""
    assert load(file, SERVICE) == load(file, {})
    assert unheard(SERVICE, known_keys()) == []


def test_a_variable_with_one_underscore_too_few_is_said(file: Path) -> None:
    """It sets nothing; the log says which one was meant."""
    environ = {"VORTEX_STORE_URL": "s3://other", "vortex_commit_max_bytes": "1MiB", "VORTEX_PORT": "1"}
    assert load(file, environ) == load(file, {})
    assert unheard(environ, known_keys()) == [
        "environment: VORTEX_STORE_URL: not a setting, has no effect; did you mean VORTEX_STORE__URL?",
        "environment: vortex_commit_max_bytes: not a setting, has no effect; did you mean VORTEX_COMMIT__MAX_BYTES?",
    ]


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


ODD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "-1", "0", "1e9", "nan", "∞", "9" * 400, "{", "{}", "{customer}", "[", "[[", "a,,b", "%"]
    ),
    st.sampled_from(["s3://", "file://", "arn:", "http://", "unix:", "1970-01-01", "5m5", "٣s", "\ud800", "a\nb"]),
)
TYPED = [
    "-1",
    "0",
    "1",
    "1" + "0" * 30,
    "1.5",
    "nan",
    "inf",
    "-inf",
    "true",
    "[]",
    "[1]",
    '["a", 1]',
    "[[]]",
    "{}",
    '""',
]
TYPED += ["{ a = 1 }", "1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", r'"\u0000"', r'"a\nb"', '"' + "x" * 3000 + '"']
KEYS = [(section, key) for section, keys in known_keys().items() for key in keys]


def check_loads_or_is_told(path: Path, environ: dict[str, str]) -> None:
    """Settings come of it, or a line for each fault, with the file's name in front."""
    try:
        load(path, environ)
    except ConfigError as problem:
        lines = str(problem).split("\n")
        assert all(line.startswith(f"{path}: ") and len(line) > len(str(path)) + 10 for line in lines), lines


@pytest.mark.parametrize(("section", "key"), KEYS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ODD)
def test_whatever_the_environment_says_of_a_setting_is_taken_or_told(
    section: str, key: str, value: str, file: Path
) -> None:
    """No text makes another error than the one that names it."""
    check_loads_or_is_told(file, {f"VORTEX_{section}__{key}".upper(): value})


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_whatever_the_file_says_of_a_setting_is_taken_or_told(section: str, key: str, tmp_path: Path) -> None:
    """Values of every type that TOML has."""
    path = tmp_path / "v.toml"
    least = tomllib.loads(LEAST)
    for value in TYPED:
        told = {name: dict(keys) for name, keys in least.items()}
        told.setdefault(section, {}).pop(key, None)
        lines = [
            f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items()) for name, keys in told.items()
        ]
        text = "".join(lines).replace(f"[{section}]\n", f"[{section}]\n{key} = {value}\n")
        path.write_text(text)
        check_loads_or_is_told(path, {})


@pytest.mark.parametrize("section", known_keys())
@pytest.mark.parametrize("value", ["5", '"x"', "[]", "[1]", "true", "1979-05-27"])
def test_a_section_that_is_none_is_told(section: str, value: str, tmp_path: Path) -> None:
    """By its name."""
    path = tmp_path / "v.toml"
    path.write_text(f"{section} = {value}\n" + LEAST.replace(f"[{section}]", f"[x{section}]"))
    assert f"{path}: {section}: must be a section" in faults(path)

"""Settings: unknown ones are refused, wrong ones are named, and the defaults are sufficient."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.required import REQUIRED, message_of
from vortex.config.loading import load, origins
from vortex.config.output import FAST
from vortex.config.units import duration_ms
from vortex.runtime.factories import table_name


def test_settings_have_a_default_for_everything_but_stream_and_store_and_event_fields(file: Path) -> None:
    settings = load(file, {})
    assert settings.event.type == ("a.b", "t")
    assert settings.event.customer == ("c",)
    assert (settings.publish.period, settings.hours.allowed_lateness) == (300_000, 60_000)
    assert settings.http.host == "127.0.0.1"
    assert settings.hours.max_delay is None


@pytest.mark.parametrize(
    ("more", "expected"),
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
            "layout.rejected (or VORTEX_LAYOUT__REJECTED): '_rejected/date={date}/hour={hour}' must",
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
        ("[memory]\nlimit='lots'", 'write for example "64MiB", "10MB" or "auto"'),
        ("[memory]\nkeys='auto'", 'write for example "64MiB" or "10MB"'),
        ("[memory]\nlimit='" + "9" * 400 + "'", "the largest size is 1 PiB"),
        ("[publish]\ntarget_object_size='1TiB'", "publish.target_object_size"),
        ("[http]\nport=-1", "http.port"),
        ("[http]\nport='http'", "http.port"),
        ("[http]\nport=true", "http.port (or VORTEX_HTTP__PORT): must be a whole number"),
        ("[limits]\nevents=true", "limits.events (or VORTEX_LIMITS__EVENTS): must be a whole number"),
        (
            "[limits]\nevents=9223372036854775808",
            "limits.events (or VORTEX_LIMITS__EVENTS): must be at most 1000000000",
        ),
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
def test_wrong_settings_in_the_file_are_named(file: Path, more: str, expected: str) -> None:
    """By file, key and variable, with the nearest known key."""
    file.write_text(REQUIRED + more)
    message = message_of(file)
    assert expected in message
    assert message.startswith(f"{file}: ")
    assert "\n" not in message


def test_region_may_have_any_name_when_an_endpoint_is_set(file: Path) -> None:
    """Servers other than AWS have their own names."""
    environ = {"VORTEX_STORE__ENDPOINT_URL": "http://s3:9000", "VORTEX_STORE__REGION": "auto"}
    assert load(file, environ).store.region == "auto"


def test_max_delay_accepts_its_minimum(file: Path) -> None:
    """The lateness and two minutes: shards that keep up are never further behind."""
    file.write_text(REQUIRED + "[hours]\nallowed_lateness='1h'\nmax_delay='1h2m'")
    assert load(file, {}).hours.max_delay == 3_720_000


@pytest.mark.parametrize("poll", ["0s", "200ms", "61s"])
def test_poll_is_refused_outside_its_bounds(file: Path, poll: str) -> None:
    """Five calls a second are allowed, and a shard that is rarely read holds back the hours of all."""
    assert 'source.poll (or VORTEX_SOURCE__POLL): must be between "250ms" and "1m"' in message_of(
        file, {"VORTEX_SOURCE__POLL": poll}
    )


@pytest.mark.parametrize(
    ("stream", "table", "name"),
    [
        ("clicks", None, "vortex-clicks"),
        ("arn:aws:kinesis:eu-central-1:123456789012:stream/clicks", None, "vortex-clicks"),
        ("clicks", "my-kcl-application", "my-kcl-application"),
    ],
)
def test_lease_table_is_named_after_the_stream_unless_another_is_set(
    file: Path, stream: str, table: str | None, name: str
) -> None:
    """A KCL application's table has the name of the application."""
    more = {"VORTEX_COORDINATION__TABLE": table} if table else {}
    assert table_name(load(file, {"VORTEX_SOURCE__STREAM": stream, **more})) == name


@pytest.mark.parametrize("url", ["bucket", "s3://", "http://x/y", "file://relative", "file:///"])
def test_store_url_of_an_unknown_kind_is_refused_with_an_example(file: Path, url: str) -> None:
    assert "s3://bucket/prefix" in message_of(file, {"VORTEX_STORE__URL": url})


def test_preset_changes_defaults_only(file: Path) -> None:
    """Another value stands, in the file and in the environment; `config show` says where the others come from.

    So the preset works in a file of `vortex init`, which has all defaults.
    """
    usual = load(file, {})
    for name, keys in FAST.items():
        for key, (default, _) in keys.items():
            assert getattr(getattr(usual, name), key) == duration_ms(default)
    file.write_text(REQUIRED + "[publish]\npreset='fast'\nperiod='5m'\n[hours]\nallowed_lateness='2m'")
    assert (load(file, {}).publish.period, load(file, {}).hours.allowed_lateness) == (4000, 120_000)
    assert origins(file, {})["publish", "period"] == "publish.preset"
    assert origins(file, {})["hours", "allowed_lateness"] == str(file)
    file.write_text(REQUIRED + "[publish]\npreset='fast'\n[hours]\nmax_delay='1h'")
    fast = load(file, {})
    assert (fast.source.poll, fast.publish.period, fast.hours.allowed_lateness) == (500, 4000, 500)
    assert (fast.hours.max_delay, fast.commit.every) == (3_600_000, 60_000)
    own = load(file, {"VORTEX_PUBLISH__PERIOD": "10s"})
    assert (own.source.poll, own.publish.period) == (500, 10_000)
    named = origins(file, {"VORTEX_PUBLISH__PERIOD": "10s"})
    assert named["source", "poll"] == named["hours", "allowed_lateness"] == "publish.preset"
    assert named["publish", "period"] == "VORTEX_PUBLISH__PERIOD"

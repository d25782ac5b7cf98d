"""Stores, streams, endpoints and keys in settings: what is accepted, what is refused, and with which message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vortex.adapters.disk.store import LocalDirStore
from vortex.config import places
from vortex.config.places import Bucket, store_place

POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("file:///data", Path("/data")),
        ("file:///data/", Path("/data")),
        ("file:///data/a%20b", Path("/data/a b")),
        ("file:///data/a b", Path("/data/a b")),
        ("file:///data/a%231", Path("/data/a#1")),
        ("file:///data/a%3Fb", Path("/data/a?b")),
        ("file:///data/100%25", Path("/data/100%")),
        ("file:///data/%C3%A9", Path("/data/é")),
        ("file:///data/~x", Path("/data/~x")),
        ("s3://bucket", Bucket("bucket", "")),
        ("s3://bucket/", Bucket("bucket", "")),
        ("s3://bucket/pre/fix", Bucket("bucket", "pre/fix")),
        ("s3://bucket/pre/fix/", Bucket("bucket", "pre/fix")),
        ("s3://my.bucket-1/a b", Bucket("my.bucket-1", "a b")),
        ("s3://name-s3alias/p", Bucket("name-s3alias", "p")),
        (f"s3://{POINT}/name", Bucket(f"{POINT}/name", "", "eu-west-1")),
        (f"s3://{POINT}/name/pre/fix", Bucket(f"{POINT}/name", "pre/fix", "eu-west-1")),
        (f"s3://{POINT}:name/pre", Bucket(f"{POINT}/name", "pre", "eu-west-1")),
    ],
)
def test_store_place_accepts_every_form_of_a_store_url(url: str, place: Path | Bucket) -> None:
    """Only file URLs have escapes. A slash at the end is ignored. With an ARN the access point is the bucket."""
    assert store_place(url) == place


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///a#1", "write %23"),
        ("file:///a?x=1", "write %3F"),
        ("file:///a%zz", "write %25"),
        ("file:///a%", "write %25"),
        ("file:///a%ff", "not UTF-8"),
        ("file:///a%00b", "cannot be printed"),
        ("file:///a%0Ab", "cannot be printed"),
        ("file:///~/data", "not expanded"),
        ("file:///$HOME/data", "not expanded"),
        ("file:///a/../b", '".."'),
        ("file:///a/./b", '"."'),
        ("file:///a//b", "empty part"),
        ("file:///a%2F%2E%2E%2Fb", '".."'),
        ("file:///", "three slashes"),
        ("file:////", "three slashes"),
        ("file://host/a", "three slashes"),
        ("file://localhost/a", "three slashes"),
        ("file://relative", "three slashes"),
        ("file://~/data", "three slashes"),
        ("file:data", "three slashes"),
        ("file:/data", "three slashes"),
        ("/data", "not a URL"),
        ("./data", "not a URL"),
        ("~/data", "not a URL"),
        ("data", "s3://bucket/prefix"),
        ("", "s3://bucket/prefix"),
        (" s3://bucket/p", "white space"),
        ("s3://bucket/p\n", "white space"),
        ("s3://bucket/a\x00b", "cannot be printed"),
        ("s3://", "s3://bucket/prefix"),
        ("s3:///prefix", "s3://bucket/prefix"),
        ("S3://bucket/p", "s3://bucket/prefix"),
        ("https://bucket.s3.amazonaws.com/p", "s3://bucket/prefix"),
        ("s3://My_Bucket/p", "not a bucket name"),
        ("s3://buc ket/p", "not a bucket name"),
        ("s3://bucket:9000/p", "not a bucket name"),
        ("s3://user@bucket/p", "not a bucket name"),
        ("s3://-bucket/p", "not a bucket name"),
        ("s3://buc..ket/p", "not a bucket name"),
        ("s3://192.168.0.1/p", "not a bucket name"),
        ("s3://" + "b" * 64, "not a bucket name"),
        ("s3://bucket/a//b", "empty part"),
        ("s3://bucket//a", "empty part"),
        ("s3://bucket/a/../b", '".."'),
        ("s3://bucket/" + "é" * 251, "at most 500 bytes"),
        ("s3://bucket/a?b", '"?"'),
        ("s3://bucket/a#b", '"#"'),
        ("s3://bucket/a%20b", '"%"'),
        ("s3://bucket--euw1-az1--x-s3/p", "directory bucket"),
        ("s3://name--ol-s3/p", "Object Lambda"),
        ("s3://name--op-s3/p", "Outposts"),
        ("s3://arn:aws:s3:::bucket/p", "write the name of the bucket"),
        ("s3://arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap/p", "Multi-Region"),
        ("s3://arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/n", "Object Lambda"),
        ("s3://arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-01/accesspoint/n", "Outposts"),
        ("s3://arn:aws:s3express:eu-west-1:123456789012:bucket/n", "directory bucket"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:bucket/n", "not the ARN of an access point"),
        ("s3://arn:aws:s3:eu-west-1:12345:accesspoint/n-1", "not the ARN of an access point"),
        ("s3://arn:aws:s3:eu west:123456789012:accesspoint/n-1", "not the ARN of an access point"),
        ("s3://arn:aws:s3", "not the ARN of an access point"),
        (f"s3://{POINT}/name/a//b", "empty part"),
    ],
)
def test_store_place_refuses_ambiguous_urls_and_unsupported_buckets_with_a_reason(url: str, message: str) -> None:
    """In one line."""
    with pytest.raises(ValueError, match=r".") as caught:
        store_place(url)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_store_place_keeps_folders_apart_whose_names_have_url_characters(tmp_path: Path) -> None:
    """`a#1` and `a#2` used to be one folder. The URL of a store names its folder again."""
    stores = {LocalDirStore(tmp_path / name).url for name in ("a#1", "a#2", "a", "a?1", "a%1", "a 1", "é")}
    assert len(stores) == 7
    for url in stores:
        place = store_place(url)
        assert isinstance(place, Path)
        assert LocalDirStore(place).url == url


@pytest.mark.parametrize(
    ("stream", "region"),
    [
        ("clicks", None),
        ("a.b_c-D9", None),
        ("arn:aws:kinesis:eu-central-1:123456789012:stream/clicks", "eu-central-1"),
        ("arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/clicks", "us-gov-west-1"),
        ("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/clicks", "cn-north-1"),
    ],
)
def test_stream_region_accepts_names_and_arns(stream: str, region: str | None) -> None:
    """An ARN has the region."""
    assert places.stream_region(stream) == region


ARN = "arn:aws:kinesis:eu-central-1:123456789012:"


@pytest.mark.parametrize(
    ("check", "text", "message"),
    [
        (places.stream_region, "", "not a stream name"),
        (places.stream_region, "a b", "not a stream name"),
        (places.stream_region, "a/b", "not a stream name"),
        (places.stream_region, "clicks\n", "not a stream name"),
        (places.stream_region, "ключ", "not a stream name"),
        (places.stream_region, "s" * 129, "not a stream name"),
        (places.stream_region, "arn:aws:kinesis", "not the ARN of a stream"),
        (places.stream_region, "arn:aws:kinesis:::stream/s", "not the ARN of a stream"),
        (places.stream_region, ARN + "stream/", "not the ARN of a stream"),
        (places.stream_region, ARN + "stream/a/b", "not the ARN of a stream"),
        (places.stream_region, ARN + "stream:s", "not the ARN of a stream"),
        (places.stream_region, ARN + "stream/s/consumer/c:1", "not the ARN of a stream"),
        (places.stream_region, "arn:aws:dynamodb:eu-central-1:123456789012:table/t", "not the ARN of a stream"),
        (places.endpoint, "localhost:4566", 'write "https://localhost:4566"'),
        (places.endpoint, "127.0.0.1:9000", 'write "https://127.0.0.1:9000"'),
        (places.endpoint, "minio", 'write "https://minio"'),
        (places.endpoint, "//minio:9000", 'the scheme is missing or unknown; write "https://minio:9000"'),
        (places.endpoint, "ftp:////minio", 'the scheme is missing or unknown; write "https://minio"'),
        (places.endpoint, "ftp://", 'write "https://host:9000"'),
        (places.endpoint, "https:////x", "names no host"),
        (places.endpoint, "http://", "names no host"),
        (places.endpoint, "http://:9000", "names no host"),
        (places.endpoint, "http://host:0", "names no host"),
        (places.endpoint, "http://a..b:9000", "names no host"),
        (places.endpoint, f"http://{'a' * 64}.b", "names no host"),
        (places.endpoint, f"http://{'a.' * 130}b", "names no host"),
        (places.endpoint, "http://[1::2::3]", "not a URL"),
        (places.endpoint, "http://[fe80]x", "not a URL"),
        (places.endpoint, "http://host:99999", "is not a URL"),
        (places.endpoint, "http://host:port", "is not a URL"),
        (places.endpoint, "http://[::1", "is not a URL"),
        (places.endpoint, "http://user:secret@host", "must have no user and password"),
        (places.endpoint, "http://user:12/34@host", "must have no user and password"),
        (places.endpoint, "http://host?x=1", "an endpoint cannot have"),
        (places.endpoint, "http://host/#x", "an endpoint cannot have"),
        (places.endpoint, " http://host", "white space"),
        (places.kms_key, "", "not a KMS key"),
        (places.kms_key, "key", "not a KMS key"),
        (places.kms_key, "key/1234abcd-12ab-34cd-56ef-1234567890ab", "not a KMS key"),
        (places.kms_key, "arn:aws:kms:eu-central-1:123456789012:1234abcd-12ab-34cd-56ef-1234567890ab", "not a KMS key"),
        (
            places.kms_key,
            "arn:aws:s3:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "not a KMS key",
        ),
        (places.kms_key, "arn:aws:kms:eu-central-1:1:alias/a", "not a KMS key"),
        (places.account, "12345", "twelve digits"),
        (places.account, "1234-5678-9012", "twelve digits"),
        (places.table, "a/b", "not a table name"),
        (places.table, "ab", "not a table name"),
        (places.listening_host, "", "not a host"),
        (places.listening_host, "http://0.0.0.0", "not a host"),
        (places.listening_host, "a b", "not a host"),
        (places.listening_host, ".", "not a host"),
        (places.listening_host, "a..b", "not a host"),
        (places.listening_host, "a" * 64, "not a host"),
        (places.listening_host, "a." * 130 + "b", "not a host"),
        (places.listening_host, "0.0.0.0:9400", "and its port in http.port"),
        (places.listening_host, "[::]", "not a host"),
        (places.listening_host, "1:2", "not a host"),
        (places.listening_host, "unix:", "unix:/path"),
        (places.listening_host, "unix:relative", "unix:/path"),
        (places.listening_host, "unix:/" + "a" * 107, "at most 107 bytes, this one 108"),
    ],
)
def test_places_are_refused_with_a_reason_in_one_line(check: Callable[[str], object], text: str, message: str) -> None:
    """It says what to write, and repeats no password."""
    with pytest.raises(ValueError, match=r".") as caught:
        check(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (places.endpoint, "http://127.0.0.1:4567"),
        (places.endpoint, "https://my_minio.internal:9000/"),
        (places.endpoint, "https://vpce-1.kinesis.eu-west-1.vpce.amazonaws.com"),
        (places.endpoint, "http://[::1]:9000"),
        (places.endpoint, "http://[::1]"),
        (places.kms_key, "alias/clickstream"),
        (places.kms_key, "1234abcd-12ab-34cd-56ef-1234567890ab"),
        (places.kms_key, "mrk-1234abcd12ab34cd56ef1234567890ab"),
        (places.kms_key, "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
        (places.kms_key, "arn:aws:kms:eu-central-1:123456789012:alias/a"),
        (places.account, "123456789012"),
        (places.listening_host, "127.0.0.1"),
        (places.listening_host, "0.0.0.0"),
        (places.listening_host, "::"),
        (places.listening_host, "fe80::1%eth0"),
        (places.listening_host, "node-1.example.com."),
        (places.listening_host, "localhost"),
        (places.listening_host, "unix:/run/vortex.sock"),
    ],
)
def test_places_are_accepted_unchanged(check: Callable[[str], str], text: str) -> None:
    assert check(text) == text


@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"])
def test_region_accepts_regions_of_aws_by_their_form(region: str) -> None:
    """So that future regions are accepted."""
    assert places.region(region, of_aws=True) == region


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("eu-central-1a", "without the zone's letter"),
        ("EU-CENTRAL-1", "is not a region"),
        ("eu_central_1", "is not a region"),
        ("eu central 1", "is not a region"),
        ("Frankfurt", "is not a region"),
        ("auto", "is not a region"),
        ("", "is not a region"),
    ],
)
def test_region_refuses_other_texts_with_a_reason(region: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        places.region(region, of_aws=True)


def test_region_accepts_any_single_label_when_an_endpoint_is_set() -> None:
    assert places.region("auto", of_aws=False) == "auto"
    with pytest.raises(ValueError, match="is not a region"):
        places.region("a b", of_aws=False)


@pytest.mark.parametrize("secret", ["hunter22", "hun/ter22", "hun@ter22"])
def test_messages_hide_a_password_when_an_address_has_one(secret: str) -> None:
    for read, url in (
        (store_place, f"s3://me:{secret}@bucket/x"),
        (places.endpoint, f"me:{secret}@host:9000/x"),
        (places.endpoint, f"http://me:{secret}@host:9000x"),
    ):
        with pytest.raises(ValueError, match=r"…@(bucket|host:9000)") as caught:
            read(url)
        assert not any(part in str(caught.value) for part in (secret, "hun", "ter22", "me:"))

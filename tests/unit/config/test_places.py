"""Where stores, streams, endpoints and keys lie: what is taken, what is refused, and with which words."""

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
def test_a_store_is_taken(url: str, place: Path | Bucket) -> None:
    """Escapes are of file URLs alone; a slash at the end says nothing; of an ARN the access point is the bucket."""
    assert store_place(url) == place


@pytest.mark.parametrize(
    ("url", "told"),
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
def test_a_store_is_refused_with_a_reason_where_its_name_could_be_read_in_two_ways(url: str, told: str) -> None:
    """Or where the kind of bucket cannot do what Vortex needs. One line."""
    with pytest.raises(ValueError, match=r".") as caught:
        store_place(url)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_whose_names_have_signs_of_urls_are_two(tmp_path: Path) -> None:
    """`a#1` and `a#2` were one folder once; and a store's URL names its folder again."""
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
def test_a_stream_is_taken(stream: str, region: str | None) -> None:
    """By its name or its ARN, which tells the region."""
    assert places.stream_region(stream) == region


ARN = "arn:aws:kinesis:eu-central-1:123456789012:"


@pytest.mark.parametrize(
    ("check", "text", "told"),
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
        (places.endpoint, "//minio:9000", "the scheme is missing"),
        (places.endpoint, "ftp://minio", "the scheme is missing or unknown"),
        (places.endpoint, "http://", "names no host"),
        (places.endpoint, "http://:9000", "names no host"),
        (places.endpoint, "http://host:99999", "is not a URL"),
        (places.endpoint, "http://host:port", "is not a URL"),
        (places.endpoint, "http://[::1", "is not a URL"),
        (places.endpoint, "http://user:secret@host", "must have no user and password"),
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
        (places.listening_host, "unix:", "unix:/path"),
        (places.listening_host, "unix:relative", "unix:/path"),
        (places.listening_host, "unix:/" + "a" * 107, "at most 107 bytes, this one 108"),
    ],
)
def test_a_place_is_refused_with_a_reason(check: Callable[[str], object], text: str, told: str) -> None:
    """In one line that says what to write."""
    with pytest.raises(ValueError, match=r".") as caught:
        check(text)
    assert told in str(caught.value)
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
        (places.listening_host, "localhost"),
        (places.listening_host, "unix:/run/vortex.sock"),
    ],
)
def test_a_place_is_taken(check: Callable[[str], str], text: str) -> None:
    """As it is."""
    assert check(text) == text


@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"])
def test_a_region_of_aws_is_taken(region: str) -> None:
    """By its form: a region that opens tomorrow is one, too."""
    assert places.region(region, of_aws=True) == region


@pytest.mark.parametrize(
    ("region", "told"),
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
def test_a_region_of_aws_is_refused(region: str, told: str) -> None:
    """With what it looks like."""
    with pytest.raises(ValueError, match=told):
        places.region(region, of_aws=True)


def test_a_region_has_any_name_where_an_endpoint_is_set() -> None:
    """But is one label all the same."""
    assert places.region("auto", of_aws=False) == "auto"
    with pytest.raises(ValueError, match="is not a region"):
        places.region("a b", of_aws=False)

"""Errors of services, each in its own format, and JSON and XML that make no sense."""

from __future__ import annotations

from collections.abc import Iterable

from tests.faults import edits as e
from tests.faults import strikes as s
from tests.faults.row import ANY, CREDENTIALS, DYNAMODB, ISSUED, JSON, KINESIS, S3, STS, WRITES, Fault


def errors() -> Iterable[Fault]:
    def coded(name: str, what: str, calls: frozenset[str], every: int = 1, **codes: tuple[int, str]) -> Fault:
        kinds = {"kinesis": KINESIS, "s3": S3, "dynamodb": DYNAMODB, "sts": STS, "credentials": CREDENTIALS}
        known = frozenset().union(*(kinds[service] for service in codes))
        return Fault(name, what, calls & known, s.error(codes), every=every)

    yield coded(
        "throttled", "too many requests", ANY,
        kinesis=(400, "ProvisionedThroughputExceededException"),
        dynamodb=(400, "ProvisionedThroughputExceededException"),
        s3=(503, "SlowDown"), sts=(400, "Throttling"), credentials=(429, "TooManyRequests"),
    )  # fmt: skip
    yield coded(
        "limited", "a limit of the account", ANY,
        kinesis=(400, "LimitExceededException"), dynamodb=(400, "ThrottlingException"), s3=(503, "ServiceUnavailable"),
        sts=(400, "ThrottlingException"),
    )  # fmt: skip
    yield coded(
        "internal", "an error of the service's own", ANY,
        kinesis=(500, "InternalFailure"), dynamodb=(500, "InternalServerError"), s3=(500, "InternalError"),
        sts=(500, "InternalFailure"), credentials=(500, "InternalServerException"),
    )  # fmt: skip
    yield coded(
        "unavailable", "out of service", ANY,
        kinesis=(503, "ServiceUnavailable"), dynamodb=(503, "ServiceUnavailable"), s3=(503, "ServiceUnavailable"),
        sts=(503, "ServiceUnavailable"), credentials=(503, "ServiceUnavailable"),
    )  # fmt: skip
    yield coded(
        "expired_token", "the credentials are said to have expired", ANY,
        kinesis=(400, "ExpiredTokenException"), dynamodb=(400, "ExpiredTokenException"), s3=(400, "ExpiredToken"),
        sts=(403, "ExpiredTokenException"),
    )  # fmt: skip
    yield coded(
        "bad_signature", "the signature is said to be wrong", ANY, 8,
        kinesis=(400, "InvalidSignatureException"), dynamodb=(400, "InvalidSignatureException"),
        s3=(403, "SignatureDoesNotMatch"), sts=(403, "SignatureDoesNotMatch"),
    )  # fmt: skip
    yield coded(
        "unknown_key", "the access key is said to be unknown", ANY, 8,
        kinesis=(400, "UnrecognizedClientException"), dynamodb=(400, "UnrecognizedClientException"),
        s3=(403, "InvalidAccessKeyId"), sts=(403, "InvalidClientTokenId"),
    )  # fmt: skip
    yield coded(
        "denied", "a policy forbids it", ANY, 8,
        kinesis=(400, "AccessDeniedException"), dynamodb=(400, "AccessDeniedException"), s3=(403, "AccessDenied"),
        sts=(403, "AccessDenied"),
    )  # fmt: skip
    yield coded(
        "conflict", "another write of the same", WRITES | {"DeleteObjects", "TransactWriteItems"},
        dynamodb=(400, "TransactionConflictException"), s3=(409, "ConditionalRequestConflict"),
    )  # fmt: skip
    yield coded(
        "aborted", "409 OperationAborted", frozenset({"PutObject", "DeleteObjects"}), s3=(409, "OperationAborted")
    )
    yield coded("request_timeout", "400 RequestTimeout", S3, s3=(400, "RequestTimeout"))
    yield coded("skewed", "the request is said to be too old", S3, 4, s3=(403, "RequestTimeTooSkewed"))
    yield coded("no_bucket", "the bucket is said not to exist", S3, 8, s3=(404, "NoSuchBucket"))
    yield coded("elsewhere", "PermanentRedirect", S3, 8, s3=(301, "PermanentRedirect"))
    yield coded(
        "no_table",
        "the table is said not to exist",
        DYNAMODB - {"DescribeTable"},
        8,
        dynamodb=(400, "ResourceNotFoundException"),
    )
    yield coded("kms_throttled", "KMS throttles", frozenset({"GetRecords"}), kinesis=(400, "KMSThrottlingException"))
    yield coded(
        "invalid_iterator",
        "the iterator is said to make no sense",
        frozenset({"GetRecords"}),
        kinesis=(400, "InvalidArgumentException"),
    )
    yield coded(
        "expired_iterator",
        "the iterator is said to have expired",
        frozenset({"GetRecords"}),
        kinesis=(400, "ExpiredIteratorException"),
    )
    yield coded("idp_silent", "STS does not reach the identity provider", STS, sts=(400, "IDPCommunicationError"))
    yield Fault(
        "empty_error", "400 without a body", ANY, s.canned(400, "Bad Request", b"", "application/json"), every=2
    )
    old = s.error(
        dict.fromkeys(("kinesis", "dynamodb"), (400, "InvalidSignatureException")),
        "Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z",
    )
    yield Fault("signature_old", "the signature is said to be too old", JSON, old, every=4)


def kinesis() -> Iterable[Fault]:
    iterator, records = frozenset({"GetShardIterator"}), frozenset({"GetRecords"})
    shards, summary = frozenset({"ListShards"}), frozenset({"DescribeStreamSummary"})
    yield Fault("iterator_missing", "GetShardIterator without an iterator", iterator, e.lacking("ShardIterator"))
    for name, value in [("null", None), ("empty", ""), ("number", 7), ("junk", "AAAA")]:
        yield Fault(
            f"iterator_{name}",
            f"GetShardIterator with {value!r} for an iterator",
            iterator,
            e.saying(ShardIterator=value),
        )
    yield Fault("next_missing", "no next iterator on an open shard", records, e.lacking("NextShardIterator"))
    for name, value in [("null", None), ("empty", ""), ("number", 7), ("junk", "AAAA")]:
        yield Fault(f"next_{name}", f"{value!r} for a next iterator", records, e.saying(NextShardIterator=value))
    yield Fault("false_end", "an open shard that is reported as ended, with a child", records, e.edited(e.false_end))
    yield Fault("children_and_next", "no children, and a next iterator", records, e.saying(ChildShards=[]))
    yield Fault("children_junk", "children without names", records, e.saying(ChildShards=[{}, 7]))
    yield Fault("records_missing", "GetRecords without records", records, e.lacking("Records"))
    yield Fault("records_null", "null for records", records, e.saying(Records=None))
    yield Fault("behind_missing", "nothing about how far behind", records, e.lacking("MillisBehindLatest"))
    yield Fault("behind_negative", "less than nothing behind", records, e.saying(MillisBehindLatest=-5))
    yield Fault("behind_text", "a text for how far behind", records, e.saying(MillisBehindLatest="much"))
    yield Fault("data_missing", "records without data", records, e.in_records(lambda r: r.pop("Data", None)))
    yield Fault("data_junk", "data that is no base64", records, e.in_records(lambda r: r.update(Data="*%$")))
    yield Fault(
        "sequence_missing", "records without numbers", records, e.in_records(lambda r: r.pop("SequenceNumber", None))
    )
    yield Fault(
        "sequence_junk", "records whose numbers are none", records, e.in_records(lambda r: r.update(SequenceNumber="x"))
    )
    arrival = "ApproximateArrivalTimestamp"
    yield Fault("arrival_missing", "records without times", records, e.in_records(lambda r: r.pop(arrival, None)))
    yield Fault(
        "arrival_junk", "records with a text for a time", records, e.in_records(lambda r: r.update({arrival: "noon"}))
    )
    yield Fault(
        "arrival_huge", "records of the year 30,000,000", records, e.in_records(lambda r: r.update({arrival: 1e15}))
    )
    yield Fault(
        "arrival_ahead",
        "records of the day after tomorrow",
        records,
        e.in_records(lambda r: r.update({arrival: r.get(arrival, 0) + 2 * s.DAY_S})),
    )
    yield Fault(
        "arrival_behind",
        "records of ten minutes ago",
        records,
        e.in_records(lambda r: r.update({arrival: r.get(arrival, 0) - 600})),
        legal=True,
    )
    yield Fault("nothing_yet", "an empty page though there is more", records, e.edited(e.nothing_yet), legal=True)
    yield Fault("same_again", "the next iterator is the last one", records, e.edited(e.same_again), legal=True)
    yield Fault("shards_missing", "ListShards without shards", shards, e.lacking("Shards"))
    yield Fault("shards_none", "ListShards with an empty list", shards, e.saying(Shards=[]))
    yield Fault("shards_one_missing", "ListShards without one of them", shards, e.edited(e.one_missing))
    yield Fault(
        "shards_twice",
        "ListShards with all of them twice",
        shards,
        e.edited(lambda said, x: said.update(Shards=(said.get("Shards") or []) * 2)),
        legal=True,
    )
    yield Fault("shards_junk", "ListShards with rows that are none", shards, e.saying(Shards=[{}, 7, None]))
    yield Fault("shards_token", "ListShards with a token that means nothing", shards, e.saying(NextToken="AAAA"))
    yield Fault(
        "summary_missing", "DescribeStreamSummary without a summary", summary, e.lacking("StreamDescriptionSummary")
    )
    yield Fault("summary_junk", "DescribeStreamSummary with a text", summary, e.saying(StreamDescriptionSummary="x"))


def s3() -> Iterable[Fault]:
    put, get, listing = frozenset({"PutObject"}), frozenset({"GetObject"}), frozenset({"ListObjectsV2"})
    xml = "application/xml"
    failed = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>m</Message></Error>'
    yield Fault(
        "error_in_200",
        "200 with an error in the body",
        S3 - {"GetObject", "HeadObject", "HeadBucket"},
        s.canned(200, "OK", failed, xml),
    )
    yield Fault("etag_missing", "a put that is done, without ETag", put, e.without_header("etag"))
    yield Fault("put_201", "a put that is done, under 201", put, e.status(201))
    yield Fault("put_precondition", "412 though it was done: one's own", put, e.status(412))
    yield Fault("put_conflict_done", "409 though it was done", put, e.status(409))
    yield Fault(
        "put_precondition_html", "412 with a page for people, and not done", put, s.html(412, "Precondition Failed")
    )
    yield Fault(
        "put_precondition_500", "500 that says PreconditionFailed", put, s.error({"s3": (500, "PreconditionFailed")})
    )
    yield Fault("part_refused_500", "500 that says InvalidRange", get, s.error({"s3": (500, "InvalidRange")}))
    yield Fault("part_missing_500", "500 that says NoSuchKey", get, s.error({"s3": (500, "NoSuchKey")}))
    yield Fault("part_whole", "200 for a part of an object", get, e.status(200))
    yield Fault("part_without_range", "206 that does not tell which part", get, e.without_header("content-range"))
    yield Fault(
        "part_other_range", "206 that tells of another part", get, e.with_header("Content-Range", "bytes 3-4/9")
    )
    yield Fault("part_short", "206 with half of the part", get, e.body(lambda data: data[: len(data) // 2]))
    yield Fault("part_long", "206 with a byte too many", get, e.body(lambda data: data + b"x"))
    yield Fault("part_refused", "416", get, e.status(416))
    yield Fault("part_flipped", "one bit of a part is another", get, e.passing(e.flipped))
    yield Fault(
        "list_junk",
        "a listing whose times are none",
        listing,
        e.replaced(b"<LastModified>", b"<LastModified>x"),
    )
    yield Fault(
        "list_token",
        "a listing that says there is more, and not where",
        listing,
        e.replaced(b"<IsTruncated>false", b"<IsTruncated>true"),
    )
    yield Fault("list_size", "a listing whose sizes are none", listing, e.replaced(b"<Size>", b"<Size>x"))
    yield Fault("list_cut", "half of a listing", listing, e.body(lambda data: data[: len(data) // 2]))
    yield Fault("list_other_root", "another document", listing, s.canned(200, "OK", b"<feed><entry/></feed>", xml))
    yield Fault(
        "list_ahead",
        "a listing whose times are two years ahead",
        listing,
        e.replaced(b"<LastModified>2026", b"<LastModified>2028"),
    )
    yield Fault(
        "list_behind",
        "a listing whose times are two years behind",
        listing,
        e.replaced(b"<LastModified>2026", b"<LastModified>2024"),
    )


def dynamodb() -> Iterable[Fault]:
    written, scan = frozenset({"PutItem", "UpdateItem"}), frozenset({"Scan"})
    condition = "ConditionalCheckFailedException"
    yield Fault(
        "condition_own",
        "the condition fails on one's own first try",
        written,
        e.passing(lambda reply, x: s.error_reply("dynamodb", 400, condition, "m") if reply.status == 200 else reply),
    )
    yield Fault(
        "condition_false",
        "the condition is said to fail, nothing was tried",
        written,
        s.error({"dynamodb": (400, condition)}),
    )
    yield Fault(
        "condition_unasked",
        "a condition is said to fail, and none was given",
        DYNAMODB - written - {"DeleteItem", "TransactWriteItems"},
        s.error({"dynamodb": (400, condition)}),
    )
    yield Fault(
        "condition_500",
        "a failure of the service's own that says that the condition fails",
        written | {"DeleteItem"},
        s.error({"dynamodb": (500, condition)}),
    )
    other = b'{"__type":"%b","message":"m","Item":{"leaseKey":{"S":"x"}}}' % condition.encode()
    yield Fault(
        "condition_of_another",
        "the condition fails on another row",
        written,
        s.canned(400, "Bad Request", other, "application/x-amz-json-1.0"),
    )
    yield Fault("items_missing", "Scan without items", scan, e.lacking("Items", "Count"))
    yield Fault("items_null", "null for items", scan, e.saying(Items=None))
    yield Fault(
        "items_none",
        "Scan with an empty list: a table that went back",
        scan,
        e.saying(Items=[], Count=0, ScannedCount=0),
        legal=True,
    )
    yield Fault("items_junk", "rows that are none", scan, e.saying(Items=[{}, {"leaseKey": {"N": "x"}}]))
    yield Fault(
        "items_key", "a key to go on from that means nothing", scan, e.saying(LastEvaluatedKey={"leaseKey": {"S": ""}})
    )
    yield Fault(
        "attributes_missing", "a write that does not tell the row", frozenset({"UpdateItem"}), e.lacking("Attributes")
    )
    yield Fault("crc_wrong", "a checksum of another body", DYNAMODB, e.with_header("x-amz-crc32", "7"))


def credentials() -> Iterable[Fault]:
    past, odd = "2020-01-01T00:00:00Z", "soon"
    yield Fault("stale", "credentials that have expired", ISSUED, e.saying(Expiration=past))
    yield Fault("expiry_junk", "credentials whose expiration is not a time", ISSUED, e.saying(Expiration=odd))
    for name in ("AccessKeyId", "SecretAccessKey", "Token", "Expiration"):
        yield Fault(f"no_{name.lower()}", f"credentials without {name}", ISSUED, e.lacking(name))
    for name, token in (("null", None), ("empty", ""), ("huge", "t" * 100_000)):
        yield Fault(
            f"token_{name}", f"credentials with a session token of {len(token or '')}", ISSUED, e.saying(Token=token)
        )
    yield Fault("key_null", "null for an access key", ISSUED, e.saying(AccessKeyId=None))
    yield Fault("key_newline", "an access key with a line break", ISSUED, e.saying(AccessKeyId="AK\r\nX-Odd: 1"))

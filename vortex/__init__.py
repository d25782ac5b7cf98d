"""Vortex: from Kinesis to deduplicated, partitioned gzip files, each event exactly once.

    Kinesis shard --> ingest (one task a shard) --> shard log --> publisher --> files and manifests --> loader

The way of an event, and where to find it:

    core.containers   a record is taken apart: aggregates, lines, arrays, compression
    core.decode       each part becomes an event, or a rejection with its reason (core.closely finds it)
    core.routing      an event's time becomes a period that is still open
    core.filter       a retry on the same shard is dropped at once; this only saves work
    core.ingestion    one shard's state: pages in, drafts of segments out
    core.segment      a draft becomes an immutable object; putting segment n if absent is the commit
    core.shardlog     the rules of a log: what follows what, where a child begins
    core.planning     the frontier, and plans, as functions of the logs
    core.dedup        what is a duplicate, decided once for all shards of a plan
    core.publication  the objects, hours and manifests that they come to
    core.balance      of a fleet: who should work on which shard, and who plans
    core.layout       which folder and file an event lies in: the loader's contract

    journal           the state folder through the object store
    ingest (resume, memory), publisher (dedup, keys, ranges, sharing, objects, hours, cleanup),
    fleet or leased (family, leases), start
                      the loops; they decide through core and act through ports
    ports, adapters   what Vortex needs from the world, and Kinesis, S3, disk, HTTP behind it
    app               the composition root; service, supervisor: as one process, or several
    cli, commands, demo: what people call
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vortex-microbatcher")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"

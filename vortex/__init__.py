"""Vortex: from Kinesis to deduplicated, partitioned gzip files, each event exactly once.

    Kinesis shard --> ingest (one task a shard) --> shard log --> publisher --> files and manifests --> loader

Each concept has a pure part in `core.<concept>` and a part with IO in `<concept>`:

    core.decode    a page's bytes become events by column, or rejections with their reasons
    core.ingest    one shard's state: pages in, drafts of segments out
    ingest         the loop of one shard: resume, read, commit
    core.log       a draft becomes an immutable segment; putting segment n if absent is the commit
    log            the state folder in the object store; the tree of shards
    core.publish   the frontier and plans as functions of the logs; the objects and manifests of a plan
    core.dedup     which rows are duplicates, decided once for all shards of a plan
    publish        the loop that makes plans, publishes them, closes hours and cleans up
    core.fleet     leases, and who should work on which shard
    fleet          which shards run in this process: all of them, or those whose leases it holds
    verify         reads a store and checks the invariants
    lookup         answers questions about data: what is in the stream, where an event is

    core.layout    the folder and file of each event: the contract with loaders
    core.native    the steps in C, and the same in Python
    ports          the interfaces to the outside; `adapters` implements them for Kinesis, S3, DynamoDB, disk, HTTP
    config         the settings
    runtime        the composition root (`environment`, `assembly`), and the process that runs it (`app`, `service`)
    cli, commands  the command line
"""

TYPE_CHECKING = False  # as in `typing`, whose import takes longer than all of `start`

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """`__version__`, looked up when it is asked for: `start` must handle signals before that."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("vortex-microbatcher")
        except PackageNotFoundError:  # run from a checkout that is not installed
            found = "0+unknown"
        return globals().setdefault(name, found)

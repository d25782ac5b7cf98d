"""Which shards this process reads: all of them, or those whose leases it holds."""

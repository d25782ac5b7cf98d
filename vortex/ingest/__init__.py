"""The ingest loop of one shard: resume, read pages, commit segments."""

"""One shard's ingest as a pure state machine: pages in, drafts of segments out."""

"""The shard log: its segments, its rules, and the documents beside it."""

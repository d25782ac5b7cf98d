"""The state folder of a stream, through the object store; and the tree of its shards."""

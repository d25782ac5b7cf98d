"""Plans: which periods are closed for every shard, which objects and manifests a plan makes."""

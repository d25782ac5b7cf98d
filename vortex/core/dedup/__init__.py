"""Deduplication where all shards meet: once for the whole stream, when a plan is published.

Rows are the events that the shard logs accepted. A row came in the interval [lo, hi] of its segment (`Footer.arrived`);
two rows are near if their intervals are at most the window apart. Walk all rows in the order (period, shard, n, row): a
row is published unless a published row of its key came before it and is near. What comes of it is a function of the
logs and of the plans' windows, and of nothing else: not of how plans were cut, nor of who made them, or how often.

`bounds`: which plans before this one may have published something near. `rows`: a plan's rows in the order. `resolve`:
the walk, for one part of the keys. `decided`: the file that says what came of it.
"""

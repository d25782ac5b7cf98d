"""Deduplication over all shards of a stream, when a plan is published.

Rows are the events that the shard logs accepted. A row arrived in the interval [lo, hi] of its segment
(`Footer.arrived`). Two rows are near if their intervals are at most the window apart. Rows are visited in the order
(period, shard, n, row). A row is published unless an earlier published row with its key is near. The result depends
only on the shard logs and the plans' windows: not on how plans were cut, who made them, or how often.

`bounds`: which earlier plans may have published something near. `rows`: a plan's rows in order. `resolve`: the decision
for one part of the keys. `decided`: the file with the decisions.
"""

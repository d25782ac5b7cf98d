"""Leases, and who should work on which shard."""

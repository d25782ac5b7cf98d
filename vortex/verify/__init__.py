"""Reads a store back and proves the invariants on it."""

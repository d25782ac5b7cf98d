"""Test doubles that ship with Vortex: Kinesis and an object store in memory, and virtual time to run the loops in."""

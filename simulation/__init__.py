"""Deterministic simulation of Vortex: Kinesis and an object store in memory, virtual time, faults, and checks."""

"""Kinesis as a `ports.Stream`."""

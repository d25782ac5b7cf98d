"""Measures what an event costs in Vortex, in a straightforward consumer, and in the compressor alone. See `run`."""

"""How cost, time and memory grow: `python -m benchmarks.growth --what NAME`."""

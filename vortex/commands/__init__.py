"""The commands other than `run`: each opens what it needs, prints its answer, and ends."""

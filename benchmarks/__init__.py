"""What an event costs: Vortex, a straightforward consumer and the floor, measured in one run. See `run`."""

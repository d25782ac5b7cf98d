"""Programs for those who work on Vortex; not in the wheel."""

"""Other programs that do the work of Vortex, on the same servers."""

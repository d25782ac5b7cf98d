"""`python -m vortex`."""

from vortex.cli import main

main()

"""`python -m vortex`."""

from vortex.start import main

main()

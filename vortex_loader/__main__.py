"""`python -m vortex_loader`."""

from vortex_loader.cli import main

if __name__ == "__main__":
    main()

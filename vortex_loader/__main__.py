"""`python -m vortex_loader`."""

from vortex_loader.start import main

if __name__ == "__main__":
    main()

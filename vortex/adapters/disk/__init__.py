"""A local directory as a `ports.ObjectStore`."""

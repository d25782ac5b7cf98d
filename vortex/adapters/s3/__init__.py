"""S3, and servers with its protocol, as a `ports.ObjectStore`."""

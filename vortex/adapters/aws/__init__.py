"""Shared by all clients of AWS: calls and their deadlines, credentials, signatures, the service's time."""

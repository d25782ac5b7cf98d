"""What all clients of AWS share: calls and their deadlines, credentials, signatures, the service's time."""

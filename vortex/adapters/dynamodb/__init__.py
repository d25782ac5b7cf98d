"""DynamoDB as a `ports.LeaseTable`."""

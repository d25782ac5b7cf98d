"""The ports over real services: Kinesis, S3, local disk, HTTP, clocks, logs. Nothing here decides anything."""

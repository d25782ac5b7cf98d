"""The catalogue as a service: an HTTP API and a page over SQLite. Anyone may read; writers have tokens."""

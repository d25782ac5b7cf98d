"""Answers questions about data: what is in the stream, where an event is, what was rejected, how to send it again."""

"""Answers what a person asks: what is in the stream, where an event is, what was rejected and how to put it back."""

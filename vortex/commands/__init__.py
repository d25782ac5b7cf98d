"""The one-off commands; each opens what it needs, answers, and ends."""

"""The rules, pure and synchronous: no IO, no clock, no chance, no logging. Values in, values out."""

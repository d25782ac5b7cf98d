"""Loads the hours that Vortex has closed into a warehouse: a schema per customer, a table per event type.

It knows the manifests in the store and nothing else of the program that wrote them.
"""

"""Domains: equal folders, each with the kinds of its documents. Neighbours meet only through `queries.py`."""

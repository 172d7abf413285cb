"""Anlu's server: documents of kinds, changed only by ops, kept in one ledger.

Read in this order: `kernel` (ids, clock, errors), `store`, `sync` (its docstring is the protocol), `flow` (kinds as data), `domains`,
`app`.
"""

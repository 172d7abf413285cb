"""Proof that the ledger is as it was written: `chain` says how entries hang together, `verify` looks for what was changed."""

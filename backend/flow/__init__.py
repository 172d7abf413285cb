"""Kinds: forms and flows as data, and the small interpreter that runs them. Twins in pwa/src/flow.

- `kind`      the Struct of a kind file, and how it is read; `compile_kind` makes it ready to run
- `celtext`   the listed subset of CEL, and what the engine is given of it
- `cel`       runs one rule: the only module that touches the engine
- `form`      may these values stand in these fields?
- `machine`   what an op does to a document: a change, a refusal, or that it waits. Pure
- `actor`     what a person may do where
- `judge`     all this over the documents of the ledger, for `backend.sync`
- `load`      kind files → `kind` documents, at server start
- `lint`      what must hold of every kind file before it is taken into use
- `deadlines` what happens because time passes

A kind file says everything about a sort of document that a safety officer could decide; no domain has code for what its file can say.
Default deny: what a kind does not allow is refused, and a rule that gives no answer is a refusal with a code.
"""

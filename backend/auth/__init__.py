"""Who speaks, from which phone, and may they: accounts, sessions, devices, tokens, permissions.

Two proofs that never stand for one another. A *session* (cookie) answers "who is at this phone now" and opens reading and administration.
A *device key* with *author tokens* answers "who was at that phone when this was said" and opens push, without any session, days later.

`service` is the order in which things happen; the rest is what it calls: `passwords` `attempts` `accounts` `sessions` `devices` `nonces`
`tokens` `revocations` `permissions`. `controllers` is the HTTP of SYNC's "Signing in".
"""

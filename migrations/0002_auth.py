"""Accounts, sessions, devices, sign-in attempts, and the record of what was done to them."""

from typing import Any

TABLES = (
    """CREATE TABLE account (
        username TEXT PRIMARY KEY,
        person TEXT NOT NULL UNIQUE,
        password TEXT NOT NULL,
        made_at BIGINT NOT NULL,
        changed_at BIGINT NOT NULL
    )""",
    """CREATE TABLE device (
        number BIGINT PRIMARY KEY,
        public_key TEXT,
        person TEXT,
        label TEXT NOT NULL,
        predecessor BIGINT,
        registered_at BIGINT NOT NULL,
        retired_at BIGINT,
        retired_by TEXT,
        held BIGINT,
        unsent BIGINT,
        oldest_at BIGINT,
        reported_at BIGINT,
        seen_at BIGINT
    )""",
    """CREATE TABLE session (
        name TEXT PRIMARY KEY,
        person TEXT NOT NULL,
        device BIGINT NOT NULL,
        began_at BIGINT NOT NULL,
        proven_at BIGINT NOT NULL,
        ends_at BIGINT NOT NULL,
        ended_at BIGINT
    )""",
    "CREATE INDEX session_person ON session (person)",
    "CREATE INDEX session_device ON session (device)",
    """CREATE TABLE attempt (
        id TEXT PRIMARY KEY,
        account TEXT NOT NULL,
        at BIGINT NOT NULL
    )""",
    "CREATE INDEX attempt_account ON attempt (account, at)",
    """CREATE TABLE auth_event (
        id TEXT PRIMARY KEY,
        at BIGINT NOT NULL,
        what TEXT NOT NULL,
        by_person TEXT,
        person TEXT,
        device BIGINT
    )""",
    "CREATE INDEX auth_event_at ON auth_event (at)",
)


async def up(tx: Any) -> None:
    """The same statements stand on SQLite and PostgreSQL."""
    for statement in TABLES:
        await tx.run(statement)

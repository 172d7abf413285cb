"""How often a password may be guessed: 10 in 5 minutes for an account, wherever they come from (a plant is one network address).

An attempt is written before the password is compared, so that guesses at the same moment count too, and taken back when it was right.
Names without an account are counted the same, so that the limit tells nothing.
"""

import hashlib
import secrets
from typing import Any

from backend.kernel.errors import Refusal

ATTEMPTS_MAX = 10
WINDOW_MS = 300_000


async def begin(tx: Any, account: str, now: int) -> str:
    """Write one attempt down and give its id. Raises Refusal `auth.too_many` with the seconds to wait."""
    name = hashlib.sha256(account.encode()).hexdigest()
    await tx.run("DELETE FROM attempt WHERE at <= $1", now - WINDOW_MS)
    rows = await tx.all("SELECT at FROM attempt WHERE account = $1 ORDER BY at DESC LIMIT $2", name, ATTEMPTS_MAX)
    if len(rows) >= ATTEMPTS_MAX:
        seconds = max(1, -(-(rows[-1]["at"] + WINDOW_MS - now) // 1000))
        raise Refusal("auth.too_many", {"Retry-After": str(seconds)}, seconds=seconds)
    attempt = secrets.token_hex(16)
    await tx.run("INSERT INTO attempt (id, account, at) VALUES ($1, $2, $3)", attempt, name, now)
    return attempt


async def take_back(tx: Any, attempt: str) -> None:
    """It was right, or it was never judged: it does not count."""
    await tx.run("DELETE FROM attempt WHERE id = $1", attempt)

"""How often a password may be guessed: 10 in 5 minutes for an account, wherever they come from (a plant is one network address).

An attempt is written before the password is compared, so that guesses at the same moment count too, and taken back when it was right.
Names without an account are counted the same, so that the limit tells nothing.
"""

import hashlib
import secrets

from backend.auth.tables import AttemptRow
from backend.kernel.errors import Refusal

ATTEMPTS_MAX = 10
WINDOW_MS = 300_000


async def begin(account: str, now: int) -> str:
    """Write one attempt down, in the running transaction, and give its id. Raises Refusal `auth.too_many` with the seconds to wait."""
    name = hashlib.sha256(account.encode()).hexdigest()
    await AttemptRow.delete().where(AttemptRow.at <= now - WINDOW_MS)
    held = (
        await AttemptRow.select(AttemptRow.at)
        .where(AttemptRow.account == name)
        .order_by(AttemptRow.at, ascending=False)
        .limit(ATTEMPTS_MAX)
    )
    if len(held) >= ATTEMPTS_MAX:
        seconds = max(1, -(-(held[-1]["at"] + WINDOW_MS - now) // 1000))
        raise Refusal("auth.too_many", {"Retry-After": str(seconds)}, seconds=seconds)
    attempt = secrets.token_hex(16)
    await AttemptRow.insert(AttemptRow(id=attempt, account=name, at=now))
    return attempt


async def take_back(attempt: str) -> None:
    """It was right, or it was never judged: it does not count."""
    await AttemptRow.delete().where(AttemptRow.id == attempt)

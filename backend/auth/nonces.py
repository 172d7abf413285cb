"""Nonces for proofs of possession: made without a table, good for five minutes, once."""

import base64
import hashlib
import hmac
import secrets

LIFE_MS = 300_000
RANDOM_BYTES = 16
MAC_BYTES = 16
SPENT_MAX = 100_000


class Nonces:
    """A nonce is random bytes and its time under a key of this process; what was spent is kept until it would have ended anyway."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._spent: dict[str, int] = {}

    def make(self, now: int) -> str:
        """A new nonce. `now` in Unix ms."""
        body = secrets.token_bytes(RANDOM_BYTES) + now.to_bytes(8, "big")
        return base64.urlsafe_b64encode(body + self._mac(body)).decode().rstrip("=")

    def spend(self, nonce: str, now: int) -> bool:
        """Whether it is one of ours, in time, and not spent before; then it is spent."""
        try:
            raw = base64.urlsafe_b64decode(nonce.encode("ascii") + b"=" * (-len(nonce) % 4))
        except (ValueError, UnicodeEncodeError):
            return False
        body, mac = raw[: RANDOM_BYTES + 8], raw[RANDOM_BYTES + 8 :]
        if len(raw) != RANDOM_BYTES + 8 + MAC_BYTES or not hmac.compare_digest(mac, self._mac(body)):
            return False
        made = int.from_bytes(body[RANDOM_BYTES:], "big")
        self._spent = {n: at for n, at in self._spent.items() if at > now - LIFE_MS} if len(self._spent) >= SPENT_MAX else self._spent
        name = body.hex()
        if not now - LIFE_MS < made <= now or name in self._spent or len(self._spent) >= SPENT_MAX:
            return False
        self._spent[name] = made
        return True

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:MAC_BYTES]

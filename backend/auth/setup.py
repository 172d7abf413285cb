"""The one-time code with which a plant gets its first administrator: only who can see the server's own screen has it.

Only its hash is kept, beside the keys. It ends after a day, or when it was used.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from backend.auth import accounts
from backend.auth.tokens import write_secret
from backend.kernel.errors import Text
from backend.store import Store

LIFE_MS = 86_400_000
CHARACTERS = 12
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U."""
HERE_ONLY = frozenset({"127.0.0.1", "localhost", "::1"})


class _Kept(msgspec.Struct):
    hash: str
    ends_at: int


def make(folder: Path, now: int) -> str:
    """A new code, shown once, good for a day; an older one ends."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(CHARACTERS))
    write_secret(folder / "setup.json", msgspec.json.encode(_Kept(_hash(code), now + LIFE_MS)))
    return "-".join(code[i : i + 4] for i in range(0, CHARACTERS, 4))


def good(folder: Path, code: str, now: int) -> bool:
    """Whether this is the code that stands."""
    file = folder / "setup.json"
    if not file.exists():
        return False
    kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
    return hmac.compare_digest(kept.hash, _hash(code)) and now < kept.ends_at


def spend(folder: Path) -> None:
    """The code was used."""
    (folder / "setup.json").unlink(missing_ok=True)


def invitation(code: str, origin: str) -> Text:
    """What the operator reads beside the server."""
    return Text(
        f"一次性设置码：{code}（24 小时内有效）。用手机或电脑打开 {origin}/set-up ，输入它来建立管理员。",
        f"One-time set-up code: {code} (good for 24 h). Open {origin}/set-up and enter it to make the administrator.",
    )


async def greeting(store: Store, folder: Path, origin: str, now: int) -> Text:
    """Where the plant is; with a new code where nobody is in it yet."""
    async with store.read():
        somebody = await accounts.any_yet()
    said = Text(f"安炉：{origin}", f"Anlu: {origin}") if somebody else invitation(make(folder, now), origin)
    if urlsplit(origin).hostname not in HERE_ONLY:
        return said
    return Text(
        f"{said.zh}\n这个地址只有本机能打开，标签上的二维码也印它：手机要用，请设置 ANLU_ORIGIN，或用 serve --lan。",
        f"{said.en}\nOnly this machine can open that address, and labels carry it: for phones set ANLU_ORIGIN, or use serve --lan.",
    )


def _hash(code: str) -> str:
    # Typed by hand: dashes, spaces and the letters that look like digits do not matter.
    plain = code.upper().translate(str.maketrans("OIL", "011", "- "))
    return hashlib.sha256(plain.encode()).hexdigest()

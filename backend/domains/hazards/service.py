"""A hazard typed by somebody who scanned a tag and is not signed in: a visitor, a driver, a contractor on their first day.

What they get to know is what is printed on the tag: the machine's name and number. A code that is not bound gets the same answer after
the same time, whatever the reason. The same words on the same tag on the same day are one hazard, so a phone that lost the answer may
send again.
"""

import hashlib
import ipaddress
import json
import secrets

from backend.domains.equipment.queries import TAG_TEXT_CHARS_MAX, Machine, machine_by_code, tag_code
from backend.flow.judge import FlowJudge
from backend.kernel.clock import Clock
from backend.kernel.errors import Refusal
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.kernel.windows import Window
from backend.store import Store
from backend.sync.op import New, sealed_hash
from backend.sync.server import Sync
from backend.sync.shapes import TxDocs

TEXT_CHARS_MIN = 4
TEXT_CHARS_MAX = 1_000
CONTACT_CHARS_MAX = 200
CODE_CHARS_MAX = TAG_TEXT_CHARS_MAX
REPORTS_PER_ADDRESS_MAX = 20
REPORTS_ADDRESS_MINUTES = 10
"""A plant's phones come from few addresses: room for several people, none for a flood."""
REPORTS_PER_TAG_MAX = 5
REPORTS_TAG_MINUTES = 10
LOOKS_PER_ADDRESS_MAX = 120
LOOKS_ADDRESS_MINUTES = 10
ANSWER_MS_MIN = 250
"""Every answer takes at least this long, so that its time says nothing of the code."""
GRADE = "yellow"
"""Until a supervisor has looked."""
IPV6_PREFIX_BITS = 64
"""One subscriber holds a whole /64."""
DAY_MS = 86_400_000


class PasserBy:
    """Looks tags up and takes reports for people without a session."""

    def __init__(self, store: Store, sync: Sync, judge: FlowJudge, clock: Clock) -> None:
        self._store = store
        self._sync = sync
        self._judge = judge
        self._clock = clock
        self._looks = Window(LOOKS_PER_ADDRESS_MAX, LOOKS_ADDRESS_MINUTES)
        self._by_address = Window(REPORTS_PER_ADDRESS_MAX, REPORTS_ADDRESS_MINUTES)
        self._by_tag = Window(REPORTS_PER_TAG_MAX, REPORTS_TAG_MINUTES)

    async def look(self, code: str, address: str) -> Machine:
        """The machine that the tag names. Raises Refusal `hazard.tag_unknown`, `hazard.passer_by_too_many`."""
        now = self._clock()
        _room(self._looks.wait_seconds(_subscriber(address), now))
        self._looks.take(_subscriber(address), now)
        return await self._machine(code)

    async def report(self, code: str, text: str, contact: str, address: str) -> Machine:
        """Keep the hazard on the tag's machine. Raises Refusal `hazard.text_needed`, `hazard.tag_unknown`, `hazard.passer_by_too_many`."""
        now = self._clock()
        text, contact = " ".join(text.split()), " ".join(contact.split())
        if not TEXT_CHARS_MIN <= len(text) <= TEXT_CHARS_MAX:
            raise Refusal("hazard.text_needed", min=TEXT_CHARS_MIN, max=TEXT_CHARS_MAX)
        # Codes that are not bound count like those that are: the limit tells nothing either.
        tag = tag_code(code) or ""
        _room(max(self._by_address.wait_seconds(_subscriber(address), now), self._by_tag.wait_seconds(tag, now)))
        self._by_address.take(_subscriber(address), now)
        self._by_tag.take(tag, now)
        machine = await self._machine(code)
        said = hashlib.sha256(text.encode()).hexdigest()
        key = f"hazard/{derived(f'passer-by:{tag}:{now // DAY_MS}:{said}')}"
        fields = {"area": machine.area, "machine": machine.id, "note": text, "grade": GRADE, "passer_by": True}
        sealed: dict[str, tuple[bytes, str]] = {}
        if contact:
            salt, value = secrets.token_bytes(16), json.dumps(contact, ensure_ascii=False)
            sealed[sealed_hash(salt, value)] = (salt, value)
            fields["contact"] = {"sealed": sealed_hash(salt, value)}
        async with self._store.read() as tx:
            if await TxDocs(tx).get(key) is not None:
                return machine
        op = New(0, 0, 0, SERVER_AUTHOR, key, self._judge.newest("hazard") or 1, fields)
        for verdict in await self._sync.say(op, sealed=sealed):
            if verdict.state != "ok" and verdict.code != "op.exists":
                raise RuntimeError(f"a passer-by's hazard was not accepted: {verdict}")
        return machine

    async def _machine(self, code: str) -> Machine:
        async with self._store.read() as tx:
            machine = await machine_by_code(TxDocs(tx), tag_code(code) or "")
        if machine is None:
            raise Refusal("hazard.tag_unknown")
        return machine


def _room(seconds: int) -> None:
    if seconds:
        raise Refusal("hazard.passer_by_too_many", {"Retry-After": str(seconds)}, seconds=seconds)


def _subscriber(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, IPV6_PREFIX_BITS), strict=False))
    return str(found)

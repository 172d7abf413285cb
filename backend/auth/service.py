"""The order in which signing in, refreshing, resetting and revoking happen. Everything that is kept is kept in one transaction."""

import secrets
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar.connection import ASGIConnection

from backend.auth import accounts, attempts, devices, sessions, setup
from backend.auth.nonces import Nonces
from backend.auth.passwords import Passwords
from backend.auth.permissions import ADMINISTRATION, People, Role, Standing
from backend.auth.revocations import Line, Revocations
from backend.auth.sessions import Principal
from backend.auth.tables import EventRow
from backend.auth.tokens import Keys
from backend.kernel.clock import Clock
from backend.kernel.errors import Refusal, Text

UnixMs = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
DEVICE_NUMBERS = 2**48
DeviceNumber = Annotated[int, msgspec.Meta(ge=1, lt=DEVICE_NUMBERS)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
ShortText = Annotated[str, msgspec.Meta(max_length=400)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class PhoneIn(msgspec.Struct, forbid_unknown_fields=True):
    """The phone that asks: a new one (`label`, `public_key`, perhaps its `predecessor`) or a known one (`number`, `nonce`, `proof`)."""

    label: ShortText = ""
    public_key: ShortText | None = None
    predecessor: devices.Proof | None = None
    number: DeviceNumber | None = None
    nonce: ShortText | None = None
    proof: ShortText | None = None


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """Who, and on which phone."""

    username: ShortText
    password: ShortText
    device: PhoneIn


class Refresh(msgspec.Struct, forbid_unknown_fields=True):
    """A fresh author token; with `device`, a new number after a fork."""

    device: PhoneIn | None = None


class PinReset(msgspec.Struct, forbid_unknown_fields=True):
    """A supervisor, standing beside `person`, gives their own name and password. Without `device` the phone's session says which one it
    is."""

    person: ShortText
    username: ShortText
    password: ShortText
    device: PhoneIn | None = None


class Names(msgspec.Struct):
    """A person's name in both languages."""

    zh: Name
    en: Name


class SetUp(msgspec.Struct, forbid_unknown_fields=True):
    """The first administrator, who holds the code from the server's screen."""

    code: ShortText
    name: Names
    username: ShortText
    password: ShortText
    device: PhoneIn | None = None


class NewPassword(msgspec.Struct, forbid_unknown_fields=True):
    """One's own password, changed by who knows it."""

    password: ShortText
    new_password: ShortText


class PersonOut(msgspec.Struct):
    """The person as the phone needs it before the first pull."""

    id: str
    name: str
    names: Text
    roles: tuple[Role, ...]
    caps: dict[str, list[str]]


class SignedIn(msgspec.Struct):
    """What a phone goes on with. `now` is the server's hlc."""

    person: PersonOut
    device: int
    certificate: str
    author_token: str
    keys: dict[str, list[dict[str, str]]]
    epoch: str
    now: int


class Cookie(msgspec.Struct):
    """The session's value and the seconds it lasts."""

    value: str
    seconds: int


class Auth:
    """Held by the app as `state["auth"]`."""

    def __init__(
        self,
        store: Any,
        keys: Keys,
        revocations: Revocations,
        passwords: Passwords,
        people: People,
        *,
        clock: Clock,
        epoch: Callable[[], str],
        hlc: Callable[[int], int],
        https: bool,
        worker_session_hours: int,
        admin_session_hours: int,
    ) -> None:
        self.store = store
        self.keys = keys
        self.revocations = revocations
        self.passwords = passwords
        self.people = people
        self.clock = clock
        self.epoch = epoch
        self.hlc = hlc
        self.cookie = sessions.COOKIE_HTTPS if https else sessions.COOKIE
        self.https = https
        self.worker_session_hours = worker_session_hours
        self.admin_session_hours = admin_session_hours
        self.nonces = Nonces()

    async def sign_in(self, asked: SignIn) -> tuple[SignedIn, Cookie]:
        """Raises Refusal `auth.wrong` after the same work whether the name exists or not, `auth.too_many`, and for a right password
        `auth.revoked`, `auth.not_active`, `auth.device_retired`, `auth.proof`, `auth.key`."""
        account = await self._proven(asked.username, asked.password)
        async with self.store.write() as tx:
            standing = await self._may_enter(tx, account.person)
            number = await self._phone(tx, asked.device, standing.id)
            return await self._begin(tx, standing, number, "sign_in", standing.id)

    async def refresh(self, principal: Principal, asked: Refresh) -> SignedIn:
        """A fresh author token and certificate; with a new key, a new number under the same session."""
        async with self.store.write() as tx:
            standing = await self._may_enter(tx, principal.person)
            number = principal.device
            if asked.device is not None:
                number = await self._phone(tx, asked.device, standing.id)
                await sessions.move(tx, principal.session, number)
            return await self._answer(tx, standing, number)

    async def sign_out(self, principal: Principal) -> None:
        """The session ends. What the phone has not sent stays good: it was signed for when it was made."""
        async with self.store.write() as tx:
            await sessions.end(tx, principal.session, self.clock())
            await self._note("sign_out", principal.person, principal.person, principal.device)

    async def reset_pin(self, asked: PinReset, principal: Principal | None) -> tuple[SignedIn, Cookie]:
        """A session for `person` on this phone, for which a supervisor of theirs answers; the record says who."""
        account = await self._proven(asked.username, asked.password)
        async with self.store.write() as tx:
            by = await self._may_enter(tx, account.person)
            standing = await self._may_enter(tx, asked.person)
            areas = {role.area for role in standing.roles} or {None}
            if not any(by.has("supervise", area or "*") or by.has("manage_people", area or "*") for area in areas):
                raise Refusal("auth.forbidden")
            if not by.covers(standing):
                raise Refusal("auth.above_you")
            if asked.device is not None:
                number = await self._phone(tx, asked.device, by.id)
            elif principal is not None:
                number = principal.device
            else:
                raise Refusal("auth.proof")
            return await self._begin(tx, standing, number, "pin_reset", by.id)

    async def set_up(self, asked: SetUp) -> tuple[SignedIn | None, str, Cookie | None]:
        """The first administrator: a person, an account, and where the phone said which it is, a session. Raises Refusal
        `auth.setup_code`."""
        now = self.clock()
        async with self.store.write():
            attempt = await attempts.begin("set-up code", now)
        if not setup.good(self.keys.folder, asked.code, now):
            raise Refusal("auth.setup_code")
        username = accounts.checked(asked.username)
        password = await self.passwords.hash(asked.password)
        async with self.store.write() as tx:
            # Again, now that nobody else writes: two who hold the code at once do not both get in.
            if not setup.good(self.keys.folder, asked.code, now):
                raise Refusal("auth.setup_code")
            await attempts.take_back(attempt)
            person = await self.people.make_administrator(tx, Text(asked.name.zh, asked.name.en))
            await accounts.put(username, person, password, now)
            await self._note("set_up", person, person, None)
            signed, cookie = None, None
            if asked.device is not None:
                standing = await self._may_enter(tx, person)
                number = await self._phone(tx, asked.device, person)
                signed, cookie = await self._begin(tx, standing, number, "sign_in", person)
        setup.spend(self.keys.folder)
        return signed, person, cookie

    async def put_account(self, by: Principal, person: str, username: str, password: str) -> str:
        """Give a person an account, or another name and password; their sessions end. Gives the name as kept."""
        name = accounts.checked(username)
        kept = await self.passwords.hash(password)
        now = self.clock()
        async with self.store.write() as tx:
            await self.add_account(tx, by, person, name, kept)
            await sessions.end_of_person(tx, person, now)
        return name

    async def add_account(self, tx: Any, by: Principal, person: str, username: str, kept: str) -> None:
        """The same inside a transaction that is under way; `username` is checked and `kept` hashed before."""
        await self._over(tx, by, person)
        await accounts.put(username, person, kept, self.clock())
        await self._note("account", by.person, person, None)

    async def change_password(self, by: Principal, asked: NewPassword) -> None:
        """One's own password; other sessions of one's own end."""
        async with self.store.read():
            own = await accounts.of_person(by.person)
        if own is None:
            raise Refusal("auth.wrong")
        account = await self._proven(own.username, asked.password)
        kept = await self.passwords.hash(asked.new_password)
        now = self.clock()
        async with self.store.write() as tx:
            await accounts.put(account.username, account.person, kept, now)
            await tx.run(
                "UPDATE session SET ended_at = $3 WHERE person = $1 AND name <> $2 AND ended_at IS NULL", by.person, by.session, now
            )
            await self._note("password", by.person, by.person, by.device)

    async def revoke_person(self, by: Principal, person: str, *, revoked: bool) -> None:
        """Stop a person's access now, or let them in again. What they sent stands; what arrives from now on is kept aside."""
        if revoked and person == by.person:
            raise Refusal("auth.yourself")
        now = self.clock()
        async with self.store.write() as tx:
            await self._over(tx, by, person)
            self.revocations.note(Line("person", person, revoked, now, by.person))
            await sessions.end_of_person(tx, person, now)
            await self._note("revoke" if revoked else "restore", by.person, person, None)

    async def retire_device(self, by: Principal, number: int) -> None:
        """End a phone: lost, replaced, given back."""
        now = self.clock()
        async with self.store.write() as tx:
            if not 1 <= number < DEVICE_NUMBERS or await devices.key_of(tx, number) is None:
                raise Refusal("auth.device_unknown")
            self.revocations.note(Line("device", str(number), True, now, by.person))
            await devices.retire(tx, number, by.person, now)
            await self._note("retire", by.person, None, number)

    async def principal(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
        """Who asks. Raises Refusal `auth.expired`, `auth.device_retired`, and `auth.other_session` where the request names another person
        or phone than the cookie."""
        token = connection.cookies.get(self.cookie)
        if not token:
            raise Refusal("auth.expired")
        async with self.store.read() as tx:
            found = await sessions.find(tx, token, self.clock())
            if found is None:
                device = await sessions.device(tx, token)
                if device is not None and self.revocations.device(device):
                    raise Refusal("auth.device_retired", by=await self._retired_by(tx, device))
        if found is None or self.revocations.person(found.person) or self.revocations.device(found.device):
            raise Refusal("auth.expired")
        named = (
            connection.headers.get("anlu-person") or connection.query_params.get("person"),
            connection.headers.get("anlu-device") or connection.query_params.get("device"),
        )
        if named != (found.person, str(found.device)):
            raise Refusal("auth.other_session")
        return found

    async def _retired_by(self, tx: Any, number: int) -> Text:
        """Whom the holder of a retired phone can ask."""
        device = await devices.find(tx, number)
        by = await self.people.standing(tx, device.retired_by) if device and device.retired_by else None
        return by.names if by else Text("管理员", "the administrator")

    async def standing(self, person: str) -> Standing:
        """What a person may do now; nothing, where there is no active person of that id."""
        async with self.store.read() as tx:
            found = await self.people.standing(tx, person)
        if found is None or not found.active or self.revocations.person(person):
            raise Refusal("auth.forbidden")
        return found

    async def _proven(self, username: str, password: str) -> accounts.Account:
        """The account, its password given. The same steps are taken for a name that has none."""
        async with self.store.write():
            attempt = await attempts.begin(accounts.folded(username), self.clock())
            account = await accounts.find(username)
        try:
            right = await self.passwords.matches(password, account.password if account else None)
        except Refusal:
            async with self.store.write():
                await attempts.take_back(attempt)
            raise
        if account is None or not right:
            raise Refusal("auth.wrong")
        renewed = await self.passwords.hash(password) if self.passwords.outdated(account.password) else None
        async with self.store.write():
            await attempts.take_back(attempt)
            if renewed:
                await accounts.rehash(account.username, renewed)
        return account

    async def _may_enter(self, tx: Any, person: str) -> Standing:
        if self.revocations.person(person):
            raise Refusal("auth.revoked")
        standing = await self.people.standing(tx, person)
        if standing is None:
            raise Refusal("auth.person_unknown")
        if not standing.active:
            raise Refusal("auth.not_active")
        return standing

    async def _over(self, tx: Any, by: Principal, person: str) -> None:
        mine, theirs = await self.people.standing(tx, by.person), await self.people.standing(tx, person)
        if theirs is None:
            raise Refusal("auth.person_unknown")
        if mine is None or not mine.covers(theirs):
            raise Refusal("auth.above_you")
        if not any(mine.has("manage_people", role.area or "*") for role in theirs.roles or (Role("", None),)):
            raise Refusal("auth.forbidden")

    async def _phone(self, tx: Any, phone: PhoneIn, person: str) -> int:
        """The number of the phone that asks: a known one proves its key, a new one gets a number."""
        if phone.public_key is not None:
            predecessor = None
            if phone.predecessor is not None:
                predecessor = (await self._prove(tx, phone.predecessor)).number
            number = await devices.register(tx, phone.public_key, predecessor, person, label=phone.label, now=self.clock())
            await self._note("device", person, person, number)
            return number
        if phone.number is None or phone.nonce is None or phone.proof is None:
            raise Refusal("auth.proof")
        device = await self._prove(tx, devices.Proof(phone.number, phone.nonce, phone.proof))
        if device.retired_at is not None or self.revocations.device(device.number):
            raise Refusal("auth.device_retired", by=await self._retired_by(tx, device.number))
        return device.number

    async def _prove(self, tx: Any, proof: devices.Proof) -> devices.Device:
        device = await devices.find(tx, proof.number)
        if device is None or not self.nonces.spend(proof.nonce, self.clock()) or not devices.proven(device, proof):
            raise Refusal("auth.proof")
        return device

    async def _begin(self, tx: Any, standing: Standing, number: int, what: str, by: str) -> tuple[SignedIn, Cookie]:
        now = self.clock()
        short = any(standing.has(cap) for cap in ADMINISTRATION)
        seconds = 3600 * (self.admin_session_hours if short else self.worker_session_hours)
        token = await sessions.begin(tx, standing.id, number, now, now + seconds * 1000)
        await self._note(what, by, standing.id, number)
        return await self._answer(tx, standing, number), Cookie(token, seconds)

    async def _answer(self, tx: Any, standing: Standing, number: int) -> SignedIn:
        now = self.clock()
        await tx.run(devices.SEEN, number, now)
        key = await devices.key_of(tx, number)
        if key is None:
            raise Refusal("auth.device_unknown")
        person = PersonOut(standing.id, standing.names.zh, standing.names, standing.roles, standing.caps)
        certificate = self.keys.issue_certificate(number, key, await devices.predecessors(tx, number), now)
        token = self.keys.issue_author(standing.id, number, now)
        return SignedIn(person, number, certificate, token, self.keys.jwks(now), self.epoch(), self.hlc(now))

    async def _note(self, what: str, by: str | None, person: str | None, device: int | None) -> None:
        row = EventRow(id=secrets.token_hex(16), at=self.clock(), what=what, by_person=by, person=person, device=device)
        await EventRow.insert(row)

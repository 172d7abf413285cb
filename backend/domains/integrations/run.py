"""Imports, from a file to the ledger: checked first, then taken in whole or not at all.

A file is not kept: it may hold first passwords. Who confirms sends it again with the digest of the plan they saw; the plan is made anew
inside the one transaction that says its ops, and where it is not the one they saw, nothing is done. The ops are the server's own device's,
in the name of who imports, so the kinds' own rules have the last word on each. The row in `import_job` that says `done` is part of the
same transaction: after a kill it says so exactly when all of it is in the ledger.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from backend.auth.permissions import capabilities
from backend.auth.service import Auth
from backend.auth.sessions import Principal
from backend.domains.integrations import lines, writer
from backend.domains.integrations import plan as plans
from backend.domains.integrations.columns import Table, folded, tables
from backend.domains.integrations.plan import Held, Plan, Step, World
from backend.domains.integrations.reader import Book, read
from backend.flow.judge import CALENDAR_KEY, FlowJudge
from backend.flow.kind import CompiledKind, Label
from backend.flow.machine import View
from backend.kernel.clock import Clock
from backend.kernel.errors import Refusal, body
from backend.kernel.ids import uuid7
from backend.store import Store, Tx
from backend.sync.judge import Document
from backend.sync.op import Act, New, Op, Set
from backend.sync.server import Sync
from backend.sync.shapes import TxDocs

OPS_AT_ONCE = 50
"""Between two of these, others get their turn and progress is told."""
PROBLEMS_SHOWN_MAX = 500
CHANGES_SHOWN_MAX = 100
IMPORT_MINUTES_MAX = 30
"""After this time a job of another process that still says `running` was cut off."""
JOBS_KEPT_MAX = 50

log = structlog.get_logger("anlu.import")


class Report(msgspec.Struct):
    """What a file would do. `errors` and `changes` may be fewer than there are; `bad` counts rows. `plan` is what a confirmation names."""

    table: str
    form: str
    rows: int
    created: int
    changed: int
    unchanged: int
    bad: int
    accounts: int
    plan: str
    errors: list[dict[str, Any]]
    errors_more: int
    changes: list[dict[str, Any]]
    ignored: list[str]
    unknown: dict[str, int]


class Job(msgspec.Struct):
    """An import under way or over: `state` is running, done or failed; `done` of `total` rows; `error` is a refusal as the API says it."""

    id: str
    table: str
    state: str
    total: int = 0
    done: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: int = 0
    accounts: int = 0
    error: dict[str, Any] | None = None


class _Counts(msgspec.Struct):
    """What a job's row keeps of it."""

    total: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: int = 0
    accounts: int = 0
    error: dict[str, Any] | None = None


class Imports:
    """Held by the app as `state["imports"]`."""

    def __init__(self, store: Store, sync: Sync, judge: FlowJudge, auth: Auth, clock: Clock) -> None:
        self._store = store
        self._sync = sync
        self._judge = judge
        self._auth = auth
        self._clock = clock
        self._reading = asyncio.Lock()
        self._jobs: dict[str, tuple[str, Job]] = {}
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop what runs: its transaction is rolled back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # Before.

    async def check(self, table: Table, content: bytes, principal: Principal, lang: str = "zh") -> Report:
        """What this file would do. Changes nothing. Raises Refusal `import.…`."""
        await self._may(table, principal)
        book, found = await self._plan(table, content, principal, lang)
        news = sum(step.new for step in found.steps)
        shown = found.problems[:PROBLEMS_SHOWN_MAX]
        return Report(
            table=table.name,
            form=book.form,
            rows=found.rows,
            created=news,
            changed=len(found.steps) - news,
            unchanged=found.unchanged,
            bad=found.bad_rows,
            accounts=sum(step.account is not None for step in found.steps),
            plan=found.digest,
            errors=[{"cell": p.cell, "row": p.row, "column": p.column, **body(p.code, p.params)} for p in shown],
            errors_more=len(found.problems) - len(shown),
            changes=_changes(table, found.steps),
            ignored=found.ignored,
            unknown=found.unknown,
        )

    async def template(self, table: Table, principal: Principal, lang: str) -> bytes:
        """An empty table to fill in."""
        await self._may(table, principal)
        async with self._store.read() as tx:
            world = await self._world(tx, table, principal, lang)
        return await asyncio.to_thread(writer.template, table, self._kind(table), world)

    async def export(self, table: Table, principal: Principal, lang: str, *, as_csv: bool) -> bytes:
        """What stands, as a file that changes nothing when it is imported."""
        await self._may(table, principal)
        async with self._store.read() as tx:
            world = await self._world(tx, table, principal, lang)

        def work() -> bytes:
            found = writer.rows(table, self._kind(table), world)
            return writer.text(table, found) if as_csv else writer.workbook(table, found)

        async with self._reading:
            return await asyncio.to_thread(work)

    # The import itself.

    async def begin(self, table: Table, content: bytes, principal: Principal, seen: str, *, skip_bad: bool, lang: str = "zh") -> Job:
        """Begin to take a file in that was checked: `seen` is the report's `plan`, in the language it was asked in. `skip_bad`: leave rows
        with errors out; otherwise any error refuses all. Raises Refusal `import.busy`, `import.changed`, `import.has_errors`, and what
        `check` raises."""
        await self._may(table, principal)
        if self._task is not None and not self._task.done():
            raise Refusal("import.busy")
        book, found = await self._plan(table, content, principal, lang)
        if found.digest != seen:
            raise Refusal("import.changed")
        if found.problems and not skip_bad:
            raise Refusal("import.has_errors", count=found.bad_rows)
        if self._task is not None and not self._task.done():
            raise Refusal("import.busy")  # another one began while this file was read
        now = self._clock()
        job = Job(uuid7(now, secrets.token_bytes(10)), table.name, "running", total=len(found.steps))
        self._jobs = dict(list(self._jobs.items())[-JOBS_KEPT_MAX:]) | {job.id: (principal.person, job)}
        self._task = asyncio.create_task(self._run(job, table, book, found, principal, lang), name="anlu-import")
        return job

    async def job(self, job_id: str, principal: Principal) -> Job:
        """How far an import is, for who began it. Raises Refusal `import.no_job`."""
        person, job = self._jobs.get(job_id, ("", None))
        if job is not None and person == principal.person:
            return job
        async with self._store.read() as tx:
            row = await tx.one("SELECT * FROM import_job WHERE id = $1 AND person = $2", job_id, principal.person)
        if row is None:
            raise Refusal("import.no_job")
        if row["state"] != "running":
            counts = msgspec.json.decode(row["result"] or "{}", type=_Counts)
            done = counts.total if row["state"] == "done" else 0
            return Job(id=job_id, table=row["what"], state=row["state"], done=done, **msgspec.structs.asdict(counts))
        job = Job(job_id, row["what"], "running")
        # Another worker may be at it; where there is only this process, whoever was has been killed.
        if self._store.dialect == "sqlite" or self._clock() - row["begun_at"] > IMPORT_MINUTES_MAX * 60_000:
            job.state, job.error = "failed", body("import.cut_off", {})
        return job

    async def _run(self, job: Job, table: Table, book: Book, found: Plan, principal: Principal, lang: str) -> None:
        try:
            async with self._store.write() as tx:
                await tx.run(
                    "INSERT INTO import_job (id, what, person, state, begun_at) VALUES ($1, $2, $3, 'running', $4)",
                    job.id,
                    table.name,
                    principal.person,
                    self._clock(),
                )
            hashes = await self._hashes(found)
            async with self._store.write() as tx:
                # Nobody else writes from here on, so the plan that is made now is the one that is done.
                await self._take_in(tx, job, table, book, found.digest, hashes, principal, lang)
            job.state = "done"
            log.info("imported", table=table.name, job=job.id, created=job.created, changed=job.changed, skipped=job.skipped)
        except Exception as error:
            if isinstance(error, Refusal):
                job.error = body(error.code, error.params)
            else:
                log.exception("an import failed", table=table.name, job=job.id)
                job.error = body("import.failed", {})
            job.state, job.done = "failed", 0
            await self._failed(job)

    async def _failed(self, job: Job) -> None:
        counts = _Counts(error=job.error)
        try:
            async with self._store.write() as tx:
                await tx.run(
                    "UPDATE import_job SET state = 'failed', ended_at = $2, result = $3 WHERE id = $1", job.id, self._clock(), _json(counts)
                )
        except Exception:
            log.exception("what became of an import could not be noted", job=job.id)

    async def _hashes(self, found: Plan) -> dict[int, str]:
        """The passwords of new accounts, hashed before anybody else has to wait."""
        made = [(step.row, step.account.password) for step in found.steps if step.account is not None]
        return {row: await self._auth.passwords.hash(password) for row, password in made}

    async def _take_in(
        self, tx: Tx, job: Job, table: Table, book: Book, seen: str, hashes: dict[int, str], principal: Principal, lang: str
    ) -> None:
        kind = self._kind(table)
        world = await self._world(tx, table, principal, lang)
        found = await asyncio.to_thread(plans.make, table, kind, book, world, self._new_id)
        if found.digest != seen:
            raise Refusal("import.changed")
        if table.lines:
            views = await self._views(TxDocs(tx), table)
            said = list(lines.ops(table, found.steps, lines.sheets(views), kind.kind.version, principal.person, self._new_id))
        else:
            said = [(step, op) for step in found.steps for op in _ops(table, kind, step, principal.person)]
        try:
            for at in range(0, len(said), OPS_AT_ONCE):
                part = said[at : at + OPS_AT_ONCE]
                verdicts = await self._sync.say(*(op for _, op in part), tx=tx)
                for (step, _), verdict in zip(part, verdicts, strict=True):
                    if verdict.state != "ok":
                        raise Refusal("import.refused", cell=f"A{step.row}", why=_why(verdict.code, verdict.params))
                job.done += len({step.row for step, _ in part})
                await asyncio.sleep(0)
            for step in found.steps:
                if step.account is not None:
                    await self._auth.add_account(tx, principal, step.id, step.account.username, hashes[step.row])
            news = sum(step.new for step in found.steps)
            job.created, job.changed, job.unchanged = news, len(found.steps) - news, found.unchanged
            job.skipped, job.accounts, job.done = found.bad_rows, len(hashes), job.total
            counts = _Counts(job.total, job.created, job.changed, job.unchanged, job.skipped, job.accounts)
            await tx.run(
                "UPDATE import_job SET state = 'done', ended_at = $2, result = $3 WHERE id = $1", job.id, self._clock(), _json(counts)
            )
        except BaseException:
            # What the judge has seen of these documents is undone with the transaction.
            self._judge.observe([op.doc for _, op in said])
            raise

    # What is compared.

    async def _plan(self, table: Table, content: bytes, principal: Principal, lang: str) -> tuple[Book, Plan]:
        async with self._reading:
            book = await asyncio.to_thread(read, content)
            async with self._store.read() as tx:
                world = await self._world(tx, table, principal, lang)
            return book, await asyncio.to_thread(plans.make, table, self._kind(table), book, world, self._new_id)

    async def _may(self, table: Table, principal: Principal) -> None:
        standing = await self._auth.standing(principal.person)
        if not table.area and not any("*" in standing.caps.get(cap, []) for cap in capabilities(table.cap)):
            raise Refusal("import.whole_plant")

    async def _world(self, tx: Tx, table: Table, principal: Principal, lang: str) -> World:
        docs = TxDocs(tx)
        held_caps = (await self._judge.actor(docs, principal.person)).caps
        areas = {area for cap in capabilities(table.cap) for area in held_caps.get(cap, [])}
        held: dict[str, list[Held]] = {}
        field, _ = table.field(table.key)
        for one in await self._held(await docs.all(table.kind)) if not table.lines else ():
            if one.fields.get(field):
                held.setdefault(folded(str(one.fields[field])), []).append(one)
        keyed = {one.kind: one.field(one.key)[0] for one in tables().values()}
        refs: dict[str, dict[str, list[Held]]] = {}
        keys: dict[str, dict[str, str]] = {}
        for of in {column.of for column in table.columns.values() if column.of}:
            refs[of], keys[of] = {}, {}
            key = keyed[of]
            for one in await self._held(await docs.all(of)):
                if text := str(one.fields.get(key) or ""):
                    refs[of].setdefault(folded(text), []).append(one)
                    keys[of][one.id] = text
        if table.lines:
            held = lines.held(table, await self._views(docs, table), keys["area"])
        accounts: dict[str, str] = {}
        if any(column.account for column in table.columns.values()):
            accounts = {row["person"]: row["username"] for row in await tx.all("SELECT person, username FROM account")}
        known = {"equipment_types": self._equipment_types(), "shifts": await self._shifts(docs)}
        return World(held, refs, lambda area: "*" in areas or area in areas, known, accounts, keys, lang)

    async def _views(self, docs: TxDocs, table: Table) -> list[View]:
        """The documents of the table's kind as rules see them."""
        found = [await self._judge.view(docs, doc.key) for doc in await docs.all(table.kind)]
        return [view for view in found if view is not None]

    async def _shifts(self, docs: TxDocs) -> dict[str, Label]:
        """The calendar's shifts by their keys."""
        view = await self._judge.view(docs, CALENDAR_KEY)
        return {one["key"]: Label(**one["name"]) for one in (view or {}).get("shifts") or []}

    async def _held(self, documents: Sequence[Document]) -> list[Held]:
        found = []
        for document in documents:
            kind = self._judge.kind(document.kind, document.body["version"])
            state = kind.kind.states.get(document.body["status"]) if kind is not None else None
            fields = {name: entry[0] for name, entry in document.body["fields"].items()}
            found.append(Held(document.key.partition("/")[2], document.seq, fields, state is None or state.end))
        return found

    def _equipment_types(self) -> dict[str, Label]:
        found: dict[str, Label] = {}
        for kind in self._judge.kinds():
            if kind.kind.checklist is not None:
                found.update(kind.kind.checklist.equipment_types)
        return dict(sorted(found.items()))

    def _kind(self, table: Table) -> CompiledKind:
        kind = self._judge.kind(table.kind, self._judge.newest(table.kind) or 0)
        if kind is None:
            raise Refusal("http.not_found")
        return kind

    def _new_id(self) -> str:
        return uuid7(self._clock(), secrets.token_bytes(10))


def _ops(table: Table, kind: CompiledKind, step: Step, author: str) -> list[Op]:
    key = f"{table.kind}/{step.id}"
    if step.new:
        return [New(0, 0, 0, author, key, kind.kind.version, {name: value for name, value in step.fields.items() if value is not None})]
    said: list[Op] = [Set(0, 0, 0, author, key, step.fields)] if step.fields else []
    return said + [Act(0, 0, 0, author, key, transition, given, step.seq) for transition, given in step.acts]


def _changes(table: Table, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """What would be different in documents that stand, cell by cell."""
    found = []
    for step in steps:
        if not step.new:
            titles = {name: msgspec.to_builtins(table.columns[name].title) for name in step.shown}
            found += [
                {"row": step.row, "column": name, "heading": titles[name], "before": old, "after": new}
                for name, (old, new) in step.shown.items()
            ]
    return found[:CHANGES_SHOWN_MAX]


def _why(code: str | None, params: dict[str, Any] | None) -> str:
    try:
        message = body(code or "import.failed", params or {})["message"]
    except KeyError:
        return code or ""
    return f"{message['zh']} {message['en']}"


def _json(counts: _Counts) -> str:
    return msgspec.json.encode(counts).decode()

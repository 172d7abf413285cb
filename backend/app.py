"""The whole server, put together: the only file that names every domain."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Response, Router
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Message, Receive, Scope, Send

from backend import demo
from backend.audit.cold import Cold
from backend.auth import controllers as auth_controllers
from backend.auth import passwords, setup
from backend.auth.permissions import Role, Standing, guard
from backend.auth.revocations import Revocations
from backend.auth.service import Auth
from backend.auth.tokens import Keys
from backend.domains.equipment import controllers as equipment_controllers
from backend.domains.equipment import reading as equipment_reading
from backend.domains.equipment.checklists import Checklists
from backend.domains.hazards import controllers as hazards_controllers
from backend.domains.hazards.service import PasserBy
from backend.domains.integrations import controllers as integrations_controllers
from backend.domains.integrations.run import Imports
from backend.domains.people import controllers as people_controllers
from backend.domains.people import queries as people
from backend.domains.rounds import controllers as rounds_controllers
from backend.flow.deadlines import Deadlines
from backend.flow.judge import FlowJudge
from backend.flow.load import file_kinds, start
from backend.kernel.clock import Clock, wall_clock
from backend.kernel.errors import Refusal, Text
from backend.kernel.ids import SERVER_AUTHOR, uuid7
from backend.operate import upgrade
from backend.operate.keeper import Keeper
from backend.operate.version import program
from backend.settings import Settings
from backend.store import Tx, migrate, open_store
from backend.sync import controllers as sync_controllers
from backend.sync import history as sync_history
from backend.sync.hlc import from_ms
from backend.sync.op import New
from backend.sync.server import Sync
from backend.sync.shapes import TxDocs, members
from backend.web import errors, headers, health, metrics, process, reference
from backend.web.logs import set_up as set_up_logs
from backend.web.metrics import CountedSync, Metrics
from backend.web.static import Files, headers_of
from media import controllers as media_controllers
from media.intake import STAGING, MayRead, Media
from media.store import shelf

BODY_BYTES_MAX = 65_536
"""What a route takes that does not say otherwise."""

log = structlog.get_logger("anlu")


class Anlu(Litestar):
    """Litestar, with what every answer has: the app's own files outside `/api/`, our headers, a line in the log."""

    files: Files
    https: bool
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        if scope["type"] != ScopeType.HTTP:
            await super().__call__(scope, receive, send)
            return
        began = time.perf_counter()
        path, method = scope["path"], str(scope.get("method", ""))
        served = path.startswith("/api/") or path == "/metrics"

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = headers.complete(message["headers"], path, https=self.https)
                if served:
                    took, route = time.perf_counter() - began, errors.route_of(scope)
                    self.metrics.answered(method, route, message["status"], took)
                    log.info("answered", method=method, route=route, status=message["status"], ms=round(took * 1000, 1))
            await send(message)

        if served:
            await super().__call__(scope, receive, sending)
            return
        answer = self.files.answer(method, path, headers_of(scope))
        await sending({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await sending({"type": "http.response.body", "body": answer.content, "more_body": False})


def from_environment() -> Anlu:
    """What `anlu serve` runs: one of these a process."""
    process.bound_memory()
    settings = Settings.read()
    set_up_logs(settings.log_level)
    app = build(settings)
    app.on_startup.append(process.settle)
    return app


def build(settings: Settings, clock: Clock = wall_clock) -> Anlu:
    """The app of one plant. Its lifespan opens and closes everything it holds."""

    counted = Metrics(settings, program())

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with _house(settings, clock, counted) as parts:
            for name, part in parts.items():
                app.state[name] = part
            yield

    app = Anlu(
        route_handlers=errors.describe(
            [
                health.health,
                metrics.metrics,
                reference.style,
                *auth_controllers.ROUTES,
                *sync_controllers.ROUTES,
                *sync_history.ROUTES,
                *media_controllers.ROUTES,
                *people_controllers.ROUTES,
                *equipment_controllers.ROUTES,
                *equipment_reading.ROUTES,
                *rounds_controllers.ROUTES,
                *hazards_controllers.ROUTES,
                *integrations_controllers.ROUTES,
            ]
        ),
        dependencies={
            "auth": Provide(auth_controllers.provide_auth),
            "principal": Provide(auth_controllers.provide_principal),
        },
        guards=[guard],
        exception_handlers=errors.HANDLERS,
        lifespan=[lifespan],
        openapi_config=OpenAPIConfig(
            title="安炉 Anlu",
            version=program(),
            render_plugins=[JsonRenderPlugin(path="/openapi.json"), reference.Page()],
            use_handler_docstrings=True,
            openapi_router=Router(
                "/api/schema", route_handlers=[], opt={"who": "manage_plant"}, include_in_schema=False, after_request=_known
            ),
        ),
        logging_config=None,
        request_max_body_size=BODY_BYTES_MAX,
    )
    app.files = Files(settings.pwa_path)
    app.https = settings.https
    app.metrics = app.state["metrics"] = counted
    app.state["settings"] = settings
    app.state["version"] = program()
    return app


async def _known(answer: Response[Any]) -> Response[Any]:
    """The description's own "not found" is a page; ours has the one shape."""
    if answer.status_code == 404:
        raise Refusal("http.not_found")
    return answer


@asynccontextmanager
async def _house(settings: Settings, clock: Clock, counted: Metrics) -> AsyncIterator[dict[str, Any]]:
    """Everything that runs, from the database up, and down again in the other order."""
    settings.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = open_store(settings.database_url)
    try:
        await upgrade.before(settings, store, clock=clock)
        await migrate(store)
        keys = Keys(settings.keys_path, clock())
        revocations = Revocations(settings.keys_path / "revocations.jsonl")
        cost = passwords.cost_of(settings.keys_path / "password-cost.json", settings.password_ms)
        judge = FlowJudge(file_kinds())
        persons = _People(judge, clock)
        auth = Auth(
            store,
            keys,
            revocations,
            passwords.Passwords(cost),
            persons,
            clock=clock,
            epoch=lambda: sync.epoch,
            hlc=from_ms,
            https=settings.https,
            worker_session_hours=settings.worker_session_hours,
            admin_session_hours=settings.admin_session_hours,
        )
        media = Media(
            store,
            shelf(settings.media_path, settings.s3),
            staging=settings.media_path / STAGING,
            may_read=_may_read(judge),
            caller=auth.principal,
            clock=clock,
            free_bytes_min=settings.media_free_mb_min * 1_000_000,
        )
        deadlines = Deadlines(judge)
        checklists = Checklists(judge)
        follow = [media.on_accepted, deadlines.on_accepted, checklists.on_accepted, counted.on_accepted]
        cold = Cold(settings.cold_path)
        sync = persons.sync = CountedSync(
            store, judge, keys, revocations, clock=clock, on_accepted=follow, on_parked=[media.on_accepted], cold=cold
        )
        keeper = Keeper(sync, judge, clock, cold=settings.cold_path, cold_years=settings.cold_years)
        imports = Imports(store, sync, judge, auth, clock)
        passer_by = PasserBy(store, sync, judge, clock)
        sync.metrics = counted
        sync.hub.counted = counted.listening.set
        await sync.start()
        watch: list[asyncio.Task[None]] = []
        try:
            versions = await start(sync, judge, clock)
            await checklists.start(sync)
            await media.start()
            await _greet(settings, auth, sync, versions, clock)
            past = demo.Past(demo.sized(settings.demo_size), store, sync, judge, media, settings.data_path / "demo-photos", clock, _show)
            watch.append(asyncio.create_task(_go_on(past, deadlines, sync, clock), name="anlu-deadlines"))
            watch.append(asyncio.create_task(past.send(), name="anlu-demo-photos"))
            watch.append(asyncio.create_task(checklists.run(sync), name="anlu-checklists"))
            watch.append(asyncio.create_task(keeper.run(), name="anlu-keeper"))
            yield {
                "store": store,
                "auth": auth,
                "sync": sync,
                "media": media,
                "judge": judge,
                "imports": imports,
                "passer_by": passer_by,
                "tag_reads": equipment_reading.limit(),
            }
        finally:
            for task in watch:
                task.cancel()
            await asyncio.gather(*watch, return_exceptions=True)
            await imports.close()
            await media.close()
            await sync.stop()
    finally:
        await store.close()


async def _go_on(past: demo.Past, deadlines: Deadlines, sync: Sync, clock: Clock) -> None:
    """What happens because time passes; in a demo whose past is still being laid, not before it is: its deadlines would fall due now."""
    try:
        await past.lay()
    except Exception:
        log.exception("the demo's past could not be laid")
    await deadlines.run(sync, clock)


class _People:
    """Persons' documents, for sign-in."""

    def __init__(self, judge: FlowJudge, clock: Clock) -> None:
        self._judge = judge
        self._clock = clock
        self.sync: Sync

    async def standing(self, tx: Tx, person: str) -> Standing | None:
        return await people.standing(TxDocs(tx), self._judge, person)

    async def make_administrator(self, tx: Tx, names: Text) -> str:
        person = uuid7(self._clock(), secrets.token_bytes(10))
        fields = {"names": msgspec.to_builtins(names), "roles": [msgspec.to_builtins(Role("admin"))]}
        op = New(0, 0, 0, SERVER_AUTHOR, f"person/{person}", self._judge.newest("person") or 1, fields)
        for verdict in await self.sync.say(op, tx=tx):
            if verdict.state != "ok":
                raise RuntimeError(f"the administrator's person was not accepted: {verdict}")
        return person


def _may_read(judge: FlowJudge) -> MayRead:
    """Whether a person holds one of these documents now: what media asks before it gives out a photo."""

    async def may_read(tx: Tx, person: str, keys: Sequence[str]) -> bool:
        return bool(await members(tx, keys, await judge.shapes(TxDocs(tx), person)))

    return may_read


async def _greet(settings: Settings, auth: Auth, sync: Sync, versions: dict[str, int], clock: Clock) -> None:
    """Say on the screen how to go on: a new plant gets its set-up code, a demo its people, once it has been filled. Where several processes
    serve, who started them has said it."""
    if settings.demo:
        plant = demo.sized(settings.demo_size)
        if await demo.state(auth.store) == "empty":
            await demo.seed(plant, auth.store, sync.say, versions, auth.passwords, clock())
        labels = settings.data_path / "labels.pdf"
        labels.write_bytes(demo.labels(plant, settings.public_origin))
        _show(demo.welcome(plant, settings.public_origin, str(labels)))
    elif settings.workers == 1:
        _show(await setup.greeting(auth.store, settings.keys_path, settings.public_origin, clock()))


def _show(text: Text) -> None:
    print(f"{text.zh}\n\n{text.en}", flush=True)

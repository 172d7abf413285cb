"""The whole server, put together: the only file that names every domain."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

import structlog
from litestar import Litestar
from litestar.di import Provide
from litestar.types import Message, Receive, Scope, Send

from backend.auth import accounts, passwords, setup
from backend.auth import controllers as auth_controllers
from backend.auth.permissions import guard
from backend.auth.revocations import Revocations
from backend.auth.service import Auth
from backend.auth.tokens import Keys
from backend.kernel.clock import Clock, wall_clock
from backend.settings import Settings
from backend.store import migrate, open_store
from backend.sync.hlc import from_ms
from backend.web import errors, headers, health
from backend.web.logs import set_up as set_up_logs
from backend.web.static import Files, headers_of

BODY_BYTES_MAX = 65_536
"""What a route takes that does not say otherwise."""

log = structlog.get_logger("anlu")


class Anlu(Litestar):
    """Litestar, with what every answer has: the app's own files outside `/api/`, our headers, a line in the log."""

    files: Files
    https: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        began = time.perf_counter()
        path, method = scope["path"], str(scope.get("method", ""))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = headers.complete(message["headers"], path, https=self.https)
                if path.startswith("/api/"):
                    took_ms = round((time.perf_counter() - began) * 1000, 1)
                    log.info("answered", method=method, route=errors.route_of(scope), status=message["status"], ms=took_ms)
            await send(message)

        if path.startswith("/api/"):
            await super().__call__(scope, receive, sending)
            return
        answer = self.files.answer(method, path, headers_of(scope))
        await sending({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await sending({"type": "http.response.body", "body": answer.content, "more_body": False})


def from_environment() -> Anlu:
    """What `anlu serve` runs: one of these a process."""
    settings = Settings.read()
    set_up_logs(settings.log_level)
    return build(settings)


def build(settings: Settings, clock: Clock = wall_clock) -> Anlu:
    """The app of one plant. Its lifespan opens and closes everything it holds."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        store = open_store(settings.database_url)
        try:
            await migrate(store)
            keys = Keys(settings.keys_path, clock())
            revocations = Revocations(settings.keys_path / "revocations.jsonl")
            cost = passwords.cost_of(settings.keys_path / "password-cost.json", settings.password_ms)
            app.state["store"] = store
            app.state["auth"] = Auth(
                store,
                keys,
                revocations,
                passwords.Passwords(cost),
                None,
                clock=clock,
                epoch=lambda: "",
                hlc=from_ms,
                https=settings.https,
                worker_session_hours=settings.worker_session_hours,
                admin_session_hours=settings.admin_session_hours,
            )
            async with store.read():
                somebody = await accounts.any_yet()
            if not somebody:
                invitation = setup.invitation(setup.make(settings.keys_path, clock()), settings.public_origin)
                print(f"{invitation.zh}\n{invitation.en}", flush=True)
            yield
        finally:
            await store.close()

    app = Anlu(
        route_handlers=[health.health, *auth_controllers.ROUTES],
        dependencies={
            "auth": Provide(auth_controllers.provide_auth),
            "principal": Provide(auth_controllers.provide_principal),
        },
        guards=[guard],
        exception_handlers=errors.HANDLERS,
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=BODY_BYTES_MAX,
    )
    app.files = Files(settings.pwa_path)
    app.https = settings.https
    app.state["settings"] = settings
    app.state["version"] = _version()
    return app


def _version() -> str:
    try:
        return version("anlu")
    except PackageNotFoundError:
        return "0.1.0"

"""Every exception becomes the one error shape, with a code of the catalogue. What the server did wrong is logged with its trace and told
without it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from msgspec import DecodeError, ValidationError

from backend.kernel.errors import Refusal, Text, body, catalogue

WHERE_CHARS_MAX = 200
Asking = Request[Any, Any, Any]
log = structlog.get_logger("anlu.errors")

_BY_STATUS = {
    400: "http.malformed",
    401: "auth.expired",
    403: "auth.forbidden",
    404: "http.not_found",
    405: "http.method",
    413: "http.too_large",
}


def answer(code: str, params: dict[str, Any], headers: dict[str, str] | None = None) -> Response[Any]:
    """An error on the wire."""
    return Response(body(code, params), status_code=catalogue()[code].status, headers=headers or {}, media_type="application/json")


def on_refusal(_: Asking, refusal: Refusal) -> Response[Any]:
    """A refusal has its own code. One that the catalogue lacks is our mistake and says so in the log."""
    if refusal.code not in catalogue():
        log.error("not_in_catalogue", refusal=refusal.code)
        return answer("http.internal", {})
    return answer(refusal.code, refusal.params, refusal.headers)


def on_http(request: Asking, error: HTTPException) -> Response[Any]:
    """What Litestar itself refuses: no such route, wrong method, a body that is not what the route takes."""
    status = 400 if isinstance(error, ValidationException) else error.status_code
    if status >= 500:
        return on_anything(request, error)
    code = _BY_STATUS.get(status, "http.malformed")
    params: dict[str, Any] = {}
    if code == "http.malformed":
        params["where"] = _where(error)
    elif code == "http.too_large":
        params["limit"] = _limit(request)
    headers = {"allow": error.headers["Allow"]} if status == 405 and error.headers and "Allow" in error.headers else None
    return answer(code, params, headers)


def on_malformed(_: Asking, error: Exception) -> Response[Any]:
    """A body that msgspec could not read."""
    return answer("http.malformed", {"where": str(error)[:WHERE_CHARS_MAX]})


def on_unreadable(request: Asking, error: Exception) -> Response[Any]:
    """A body that is no UTF-8, or nested without end: what reads JSON for us raises Python's own errors then."""
    log.warning("unreadable", method=request.method, route=route_of(request.scope), error=type(error).__name__)
    return answer("http.malformed", {"where": "JSON"})


def on_anything(request: Asking, error: Exception) -> Response[Any]:
    """Ours. The trace goes to the log, never to the wire."""
    log.error("failed", method=request.method, route=route_of(request.scope), error=type(error).__name__, exc_info=error)
    return answer("http.internal", {})


HANDLERS: dict[Any, Any] = {
    Refusal: on_refusal,
    HTTPException: on_http,
    ValidationError: on_malformed,
    DecodeError: on_malformed,
    UnicodeDecodeError: on_unreadable,
    RecursionError: on_unreadable,
    Exception: on_anything,
}


class Refused(msgspec.Struct):
    """Why something was not done: a code of the catalogue, its sentence in both languages, and what the sentence names."""

    code: str
    message: Text
    params: dict[str, Any]


_TOLD = {
    400: "Not what the operation takes",
    401: "Nobody is signed in, or not any more",
    403: "Not for this person",
    404: "Nothing of that name, or no right to it",
    405: "Not by this method",
    409: "Not as things stand, or another session",
    413: "Too large",
    422: "Understood, and refused",
    429: "Too often",
    500: "Our mistake; it stands in the log",
    503: "Later",
}


def describe(handlers: Sequence[HTTPRouteHandler]) -> Sequence[HTTPRouteHandler]:
    """The same handlers, whose description names the one shape of every refusal instead of the framework's own: the statuses that any
    request may meet, and those of the codes of its own area (the second part of the address)."""
    for handler in handlers:
        area = min(handler.paths).strip("/").partition("/")[2].partition("/")[0]
        own = {entry.status for code, entry in catalogue().items() if code.startswith(f"{area}.")}
        handler.responses = {
            status: ResponseSpec(Refused, description=_TOLD.get(status, "Refused"), generate_examples=False)
            for status in sorted(_TOLD.keys() | own)
        }
    return handlers


def route_of(scope: Any) -> str:
    """The route's template, not the address: ids in an address say who looked at what."""
    template = scope.get("path_template")
    return template if isinstance(template, str) and template else "-"


def _where(error: HTTPException) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, (ValidationError, DecodeError)):
        return str(cause)[:WHERE_CHARS_MAX]
    extra = error.extra
    if isinstance(extra, list) and extra and isinstance(extra[0], dict):
        return ", ".join(f"{e.get('key', '')}: {e.get('message', '')}" for e in extra)[:WHERE_CHARS_MAX]
    return str(error.detail)[:WHERE_CHARS_MAX]


def _limit(request: Asking) -> str:
    handler = request.scope.get("route_handler")
    limit = handler.resolve_request_max_body_size() if handler is not None and hasattr(handler, "resolve_request_max_body_size") else None
    return f"{limit // 1024} KB" if isinstance(limit, int) else ""

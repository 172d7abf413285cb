"""Logs: one JSON object a line on standard error. No secrets, no positions, no photos, no names: routes as templates, people and phones
as ids."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

NEVER = frozenset(
    {
        "password",
        "new_password",
        "token",
        "author_token",
        "cookie",
        "authorization",
        "code",
        "proof",
        "lat",
        "lon",
        "place",
        "signature",
        "names",
    }
)
"""Names whose values never reach a log, whoever logs them by mistake. A refusal is logged as `refusal`."""


def set_up(level: str) -> None:
    """Send everything, the standard library's loggers too, through one renderer."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def without_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Blank what may not be logged, also inside objects."""
    return {name: "…" if name in NEVER else _clean(value) for name, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: "…" if name in NEVER else _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value

"""The API's description as a page: written by the server from the OpenAPI document, without a script and without another host.

It stands at `/api/schema` for who manages the plant; the document itself is `/api/schema/openapi.json`.
"""

import html
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.routes import HTTPRoute

from backend.auth.permissions import ANYONE

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0 auto; padding: 16px; max-width: 900px }
h1 { font-size: 24px } h2 { font-size: 18px; margin: 28px 0 4px; overflow-wrap: anywhere } h3 { font-size: 15px; margin: 12px 0 4px }
h2 b { display: inline-block; min-width: 4.5em } code { font-size: 14px; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; font-size: 14px } td, th { text-align: left; vertical-align: top; padding: 4px 8px 4px 0 }
tr + tr { border-top: 1px solid #8886 } .who { font-size: 14px } nav { columns: 2; font-size: 14px } section { border-top: 1px solid #8888 }
"""


class Page(OpenAPIRenderPlugin):
    """Every operation with whom it serves, what it takes and what it answers; then every schema."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        serves = _serves(request.app)
        operations = [
            (method, path, operation)
            for path, item in sorted(openapi_schema.get("paths", {}).items())
            for method, operation in item.items()
            if method in METHODS
        ]
        contents = "".join(f'<a href="#{method}-{_e(path)}">{method.upper()} {_e(path)}</a><br>' for method, path, _ in operations)
        described = "".join(
            _operation(method, path, operation, serves.get((method.upper(), path), "")) for method, path, operation in operations
        )
        schemas = "".join(_schema(name, schema) for name, schema in sorted(openapi_schema.get("components", {}).get("schemas", {}).items()))
        info = openapi_schema["info"]
        page = (
            f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>{_e(info["title"])} API</title><link rel="stylesheet" href="/api/reference.css">'
            f"<h1>{_e(info['title'])} API {_e(info['version'])}</h1>"
            "<p>错误都是同一形状 / every error has one shape: <code>{code, message: {zh, en}, params}</code>. "
            "同步协议见 backend/sync，集成说明见 docs/integrator.md。/ Sync: backend/sync; how to integrate: docs/integrator.md.</p>"
            f"<nav>{contents}</nav>{described}<h1>Schemas</h1>{schemas}</html>"
        )
        return page.encode()


@get("/api/reference.css", who=ANYONE, include_in_schema=False, media_type="text/css")
async def style() -> Response[str]:
    """The page's look: our headers let no style stand in a page."""
    return Response(STYLE, media_type="text/css", headers={"cache-control": "no-cache"})


def _serves(app: Any) -> dict[tuple[str, str], str]:
    return {
        (method, route.path_format): str(handler.opt.get("who", ""))
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    }


def _operation(method: str, path: str, operation: dict[str, Any], who: str) -> str:
    parts = [f'<section><h2 id="{method}-{_e(path)}"><b>{method.upper()}</b> {_e(path)}</h2><p class="who"><code>who: {_e(who)}</code></p>']
    if operation.get("description"):
        parts.append(f"<p>{_e(operation['description'])}</p>")
    if operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{_e(one['name'])}</code></td><td>{_e(one['in'])}{' *' if one.get('required') else ''}</td>"
            f"<td>{_type(one.get('schema', {}))}</td><td>{_e(one.get('description', ''))}</td></tr>"
            for one in operation["parameters"]
        )
        parts.append(f"<table>{rows}</table>")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h3>→ {_e(kind)}: {_type(content.get('schema', {}))}</h3>")
    for status, answer in operation.get("responses", {}).items():
        shown = ", ".join(f"{_e(kind)}: {_type(content.get('schema', {}))}" for kind, content in answer.get("content", {}).items())
        parts.append(f"<p><code>{_e(status)}</code> {shown}</p>")
    return "".join(parts) + "</section>"


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{_e(field)}</code>{' *' if field in required else ''}</td><td>{_type(inner)}</td>"
        f"<td>{_e(inner.get('description', ''))}</td></tr>"
        for field, inner in schema.get("properties", {}).items()
    )
    return f'<section><h2 id="schema-{_e(name)}">{_e(name)}</h2><p>{_e(schema.get("description", ""))}</p><table>{rows}</table></section>'


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = _e(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "oneOf" in schema:
        return " | ".join(_type(one) for one in schema["oneOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{_e(one)}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"[{_type(schema.get('items', {}))}]"
    if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
        return f"{{text: {_type(schema['additionalProperties'])}}}"
    kind = schema.get("type", "any")
    return _e(" | ".join(kind) if isinstance(kind, list) else kind)


def _e(text: Any) -> str:
    return html.escape(str(text))

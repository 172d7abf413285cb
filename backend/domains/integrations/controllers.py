"""HTTP of imports and exports. Each table has routes of its own, because each names the capability that it serves.

GET  /api/integrations/<table>/template.xlsx     an empty table, ?lang=zh|en for what can be chosen
GET  /api/integrations/<table>/export.xlsx|.csv  what stands
POST /api/integrations/<table>/check             the file's bytes, ?lang= → what it would do, with an error for each bad cell
POST /api/integrations/<table>/imports           the file again, ?plan= of the report &lang= [&skip_bad=true] → 202, a job
GET  /api/integrations/imports/<job>             how far it is
"""

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from backend.auth.permissions import SESSION
from backend.auth.sessions import Principal
from backend.domains.integrations.columns import Table, tables
from backend.domains.integrations.reader import BYTES_MAX
from backend.domains.integrations.run import Imports, Job, Report

PATH = "/api/integrations"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv; charset=utf-8"

Asking = Request[Any, Any, Any]


def routes_of(table: Table) -> list[HTTPRouteHandler]:
    """The routes of one table."""
    at, who = f"{PATH}/{table.name}", table.cap

    @get(f"{at}/template.xlsx", who=who, media_type=XLSX, name=f"{table.name}-template")
    async def template(request: Asking, principal: NamedDependency[Principal], lang: FromQuery[str] = "zh") -> Response[bytes]:
        """A workbook to fill in, with examples and lists to choose from."""
        return _file(await _imports(request).template(table, principal, lang), XLSX, f"anlu-{table.name}-template.xlsx")

    @get(f"{at}/export.xlsx", who=who, media_type=XLSX, name=f"{table.name}-xlsx")
    async def workbook(request: Asking, principal: NamedDependency[Principal], lang: FromQuery[str] = "zh") -> Response[bytes]:
        """What stands, as a workbook."""
        return _file(await _imports(request).export(table, principal, lang, as_csv=False), XLSX, f"anlu-{table.name}.xlsx")

    @get(f"{at}/export.csv", who=who, media_type=CSV, name=f"{table.name}-csv")
    async def text(request: Asking, principal: NamedDependency[Principal], lang: FromQuery[str] = "zh") -> Response[bytes]:
        """What stands, as CSV."""
        return _file(await _imports(request).export(table, principal, lang, as_csv=True), CSV, f"anlu-{table.name}.csv")

    @post(f"{at}/check", who=who, status_code=200, request_max_body_size=BYTES_MAX, name=f"{table.name}-check")
    async def check(request: Asking, principal: NamedDependency[Principal], lang: FromQuery[str] = "zh") -> Report:
        """What this file would do; nothing is changed."""
        return await _imports(request).check(table, await request.body(), principal, lang)

    @post(f"{at}/imports", who=who, status_code=202, request_max_body_size=BYTES_MAX, name=f"{table.name}-import")
    async def begin(
        request: Asking,
        principal: NamedDependency[Principal],
        plan: FromQuery[str] = "",
        skip_bad: FromQuery[bool] = False,
        lang: FromQuery[str] = "zh",
    ) -> Job:
        """Take the file in, all of it or, with `skip_bad`, all rows without errors."""
        return await _imports(request).begin(table, await request.body(), principal, plan, skip_bad=skip_bad, lang=lang)

    return [template, workbook, text, check, begin]


@get(f"{PATH}/imports/{{job_id:str}}", who=SESSION)
async def job(request: Asking, job_id: FromPath[str], principal: NamedDependency[Principal]) -> Job:
    """How far an import is, for who began it."""
    return await _imports(request).job(job_id, principal)


ROUTES = [*(route for table in tables().values() for route in routes_of(table)), job]


def _imports(request: Asking) -> Imports:
    imports: Imports = request.app.state["imports"]
    return imports


def _file(content: bytes, media_type: str, name: str) -> Response[bytes]:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=media_type, headers=headers)

"""Somebody at a desk with tables, and the files they bring."""

import csv
import io
import time
from typing import Any

import anyio
import httpx
import openpyxl

from backend.sync.shapes import TxDocs
from tests.api.conftest import Plant
from tests.api.phone import Phone

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MACHINE = ["设备编号", "名称", "英文名称", "类型", "区域编号", "重要度", "纬度", "经度"]


def xlsx(*rows: list[Any]) -> bytes:
    """A workbook with these rows."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("设备")
    for row in rows:
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def text(*rows: list[Any], encoding: str = "utf-8", delimiter: str = ",") -> bytes:
    """A CSV with these rows."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode(encoding)


class Desk:
    """Somebody who imports."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone

    async def post(self, path: str, content: bytes, **params: Any) -> httpx.Response:
        at = f"/api/integrations/{path}"
        return await self.phone.client.post(at, content=content, headers=self.phone.headers, params=params, timeout=300)

    async def check(self, table: str, content: bytes) -> dict[str, Any]:
        answer = await self.post(f"{table}/check", content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def code(self, table: str, content: bytes) -> str:
        """Why a file as a whole is refused."""
        answer = await self.post(f"{table}/check", content)
        assert answer.status_code in (403, 413, 422), answer.text
        return answer.json()["code"]

    async def errors(self, table: str, content: bytes) -> dict[str, str]:
        """Cell → code."""
        return {error["cell"]: error["code"] for error in (await self.check(table, content))["errors"]}

    async def begin(self, table: str, content: bytes, plan: str, **params: Any) -> dict[str, Any]:
        answer = await self.post(f"{table}/imports", content, plan=plan, **params)
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def finish(self, job: str) -> dict[str, Any]:
        """Ask until it is over."""
        until = time.monotonic() + 240
        while time.monotonic() < until:
            found = (await self.phone.get(f"/api/integrations/imports/{job}")).json()
            if found["state"] != "running":
                return found
            await anyio.sleep(0.05)
        raise AssertionError("the import did not end")

    async def take_in(self, table: str, content: bytes, **params: Any) -> dict[str, Any]:
        """Check, confirm, wait."""
        plan = (await self.check(table, content))["plan"]
        return await self.finish((await self.begin(table, content, plan, **params))["id"])

    async def file(self, table: str, name: str, **params: Any) -> bytes:
        answer = await self.phone.get(f"/api/integrations/{table}/{name}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.content


async def documents(plant: Plant, kind: str) -> dict[str, Any]:
    """Documents of a kind by number or code: their values, `status` and `id`."""
    async with plant.app.state["store"].read() as tx:
        found = {}
        for doc in await TxDocs(tx).all(kind):
            values = {name: entry[0] for name, entry in doc.body["fields"].items()}
            found[values.get("number") or values.get("code")] = values | {"id": doc.key.partition("/")[2], "status": doc.body["status"]}
        return found

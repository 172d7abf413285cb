"""Refusals: a stable code, its parameters, a sentence in both languages, and what the worker can do.

The catalogue is data, one JSON file an area in `catalogue/`: `{code: {"status", "params", "zh", "en", "do": {"zh", "en"}}}`. The phone
reads the same files. A code is never given a second meaning. Sentences name parameters as `{name}`.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec


class Text(msgspec.Struct, frozen=True):
    """A sentence in both languages."""

    zh: str
    en: str


class Entry(msgspec.Struct, frozen=True, rename={"what_to_do": "do"}):
    """One code: the HTTP status it has where it answers a request, its parameters, and its sentences."""

    status: int
    params: tuple[str, ...]
    zh: str
    en: str
    what_to_do: Text


class Refusal(Exception):
    """Something was not done. Raised where a request ends; inside the flow a refusal is a value."""

    def __init__(self, code: str, headers: dict[str, str] | None = None, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params = params
        self.headers = headers or {}


@cache
def catalogue() -> dict[str, Entry]:
    """Every code we may answer with. Raises ValueError where two files name the same code."""
    found: dict[str, Entry] = {}
    for file in sorted(files("backend.kernel").joinpath("catalogue").iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".json"):
            continue
        for code, raw in json.loads(file.read_text("utf-8")).items():
            if code in found:
                raise ValueError(f"{code} stands in two files of the catalogue")
            found[code] = msgspec.convert(raw, Entry)
    return found


def body(code: str, params: dict[str, Any]) -> dict[str, Any]:
    """The one shape of an error on the wire: code, message in both languages, params."""
    entry = catalogue()[code]
    filled = {name: params.get(name, "") for name in entry.params}

    def say(text: str) -> str:
        for name, value in filled.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    message = {"zh": say(f"{entry.zh}{entry.what_to_do.zh}"), "en": say(f"{entry.en} {entry.what_to_do.en}".strip())}
    return {"code": code, "message": message, "params": params}

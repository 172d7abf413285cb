"""The tables that can be imported and exported, as data: one file each in `tables/`. See `Column` for what a file may say."""

import unicodedata
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from backend.flow.load import read_yaml
from backend.kernel.errors import Text

FOLDER = Path(__file__).with_name("tables")

ColumnType = Literal["text", "number", "date", "choice", "known", "ref", "refs", "roles", "username", "password"]


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """One column. Its heading is `title` in either language, both, or one of `also`.

    `type`: `choice` is one of the kind's own choices, or of what `from` names; `known` may be anything, and what `from` names is offered,
    with `words` for what people call one of them; `ref` is the key of a document of the kind `of`, `refs` several with semicolons between,
    at most `max`; `roles` is `role@area; …`; `username` and `password` are an account and no part of the document.
    `field`: the field it fills, `map.entry` inside one (its own name where it is not said). `by`: the transition that changes it later;
    `fixed`: nothing does. `empties`: though it must be filled in, a lone dash empties it. `together`: columns that are filled in too where
    this one is.
    """

    type: ColumnType
    title: Text
    help: Text
    also: list[str] = []
    words: dict[str, list[str]] = {}
    required: bool = False
    field: str = ""
    by: str = ""
    fixed: bool = False
    empties: bool = False
    of: str = ""
    source: Literal["", "equipment_types", "shifts"] = ""
    together: list[str] = []
    min: float | None = None
    max: float | None = None
    examples: list[str | float] = []

    @property
    def account(self) -> bool:
        """Whether it is about an account."""
        return self.type in ("username", "password")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"also_by": "with"}):
    """What one kind's documents look like as rows. `key`: the column that tells which document a row is about, together with those in
    `with`. `lines`: rows are not documents but lines of this set in them; see the module `lines`. `cap`: the capability that importing and
    exporting need (`a or b`: one of these); where the column `area` is, or on the whole plant where a table or a row has none. `order`:
    which comes first, since a row may name what another table brings."""

    kind: str
    cap: str
    title: Text
    key: str
    columns: dict[str, Column]
    area: str = ""
    order: int = 0
    lines: str = ""
    also_by: list[str] = []
    name: str = ""

    def field(self, column: str) -> tuple[str, str]:
        """The field that a column fills, and the entry in it; no entry where it fills the field itself."""
        field, _, entry = (self.columns[column].field or column).partition(".")
        return field, entry


@cache
def tables() -> dict[str, Table]:
    """Every table by its name, in the order in which a new plant needs them."""
    found = [msgspec.convert({**read_yaml(path), "name": path.stem}, Table) for path in FOLDER.glob("*.yaml")]
    return {table.name: table for table in sorted(found, key=lambda table: table.order)}


def folded(text: str) -> str:
    """The one spelling by which headings, keys and choices are compared: full-width letters, capitals and blanks make no difference."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def heading(column: Column) -> str:
    """What stands above a column in our own files: both languages, a star where it must be filled in."""
    return f"{column.title.zh}{'*' if column.required else ''}\n{column.title.en}"


def headings(table: Table) -> dict[str, str]:
    """Every heading that is taken, folded → column."""
    found: dict[str, str] = {}
    for name, column in table.columns.items():
        zh, en = column.title.zh, column.title.en
        for words in (zh, en, f"{zh} {en}", f"{zh}/{en}", f"{en}/{zh}", *column.also):
            found.setdefault(folded(words), name)
    return found

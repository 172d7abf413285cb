"""What a file would change: rows × what stands → creations, changes, rows that change nothing, and problems. Pure.

An empty cell leaves what stands as it is; a lone dash empties it. A row with a problem is not taken at all; what refers to it has a problem
too. Every problem says its cell, so that whoever made the file finds it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

import msgspec
from openpyxl.utils import get_column_letter

from backend.auth import accounts
from backend.auth.passwords import PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN
from backend.domains.integrations.columns import Column, Table, folded, headings
from backend.domains.integrations.reader import CELL_CHARS_MAX, Book, Sheet, Value
from backend.flow.form import validate
from backend.flow.kind import CompiledKind, Label
from backend.kernel.errors import Refusal

HEADING_ROWS_MAX = 10
"""How many rows may stand above the headings: a title, a date, who made it."""
CHOICES_SHOWN_MAX = 12
CLEAR = "-"
DASHES = frozenset("-－—–")
ACCOUNTS_MAX = 2_000
"""New accounts in one import: each password takes its time to hash."""
EXCEL_ERRORS = frozenset({"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"})


class Cleared(msgspec.Struct, frozen=True):
    """A cell that empties its field."""


class Held(msgspec.Struct):
    """A document that stands. `fields`: its plain values; `ended`: nothing more can be done with it."""

    id: str
    seq: int
    fields: dict[str, Any]
    ended: bool = False


class World(msgspec.Struct):
    """What the rows are compared with.

    `held`: documents of the table's kind by folded key. `refs`: for each kind that columns refer to, its documents by folded key. `may`:
    whether who imports may manage this area; the whole plant where it is None. `known`: what columns `from` somewhere offer, id → title.
    `accounts`: person → user name. `keys`: for each kind that columns refer to, id → key. `lang`: in which
    language values are shown.
    """

    held: dict[str, list[Held]]
    refs: dict[str, dict[str, list[Held]]]
    may: Callable[[str | None], bool]
    known: dict[str, dict[str, Label]]
    accounts: dict[str, str]
    keys: dict[str, dict[str, str]]
    lang: str = "zh"


class Problem(msgspec.Struct):
    """Why a row is not taken. `cell`: such as `B7`; `row` as Excel numbers it."""

    cell: str
    row: int
    column: str
    code: str
    params: dict[str, Any]


class Account(msgspec.Struct):
    """An account to be made."""

    username: str
    password: str


class Step(msgspec.Struct):
    """A row that changes something. `fields` begin a document (`new`) or are set; `acts` are transitions with their input. `shown`: column
    → what stood and what will stand, as people read it."""

    row: int
    key: str
    id: str
    seq: int
    new: bool
    fields: dict[str, Any]
    acts: list[tuple[str, dict[str, Any]]]
    account: Account | None
    shown: dict[str, tuple[str, str]]


class Plan(msgspec.Struct):
    """What would be done, in an order in which it can be. `unknown`: values of open choices that nobody offers, and in how many rows;
    `ignored`: headings that say nothing to us; `digest`: two plans of the same digest do the same."""

    rows: int
    steps: list[Step]
    unchanged: int
    problems: list[Problem]
    unknown: dict[str, int]
    ignored: list[str]
    digest: str

    @property
    def bad_rows(self) -> int:
        return len({problem.row for problem in self.problems})


class _Row(msgspec.Struct):
    """A row on its way. `given`: column → what its cell says; an empty cell is not in it."""

    number: int
    key: str
    given: dict[str, Any]
    held: Held | None
    id: str


def make(table: Table, kind: CompiledKind, book: Book, world: World, new_id: Callable[[], str]) -> Plan:
    """Plan the import of a file. Raises Refusal `import.…` where it is no such table."""
    sheet, top, places, ignored = find(table, book)
    problems: dict[tuple[int, str], Problem] = {}

    def wrong(row: int, column: str, code: str, /, **params: Any) -> None:
        # One problem a cell: the first one found says what to do first.
        cell = f"{get_column_letter(places.get(column, 0) + 1)}{row}"
        problems.setdefault((row, column), Problem(cell, row, column, code, params))

    cells = [(number, values) for number, values in sheet.rows if number > top and any(value is not None for value in values)]
    if not cells:
        raise Refusal("import.empty")
    rows = _match(table, world, _read(table, kind, world, cells, places, wrong), new_id, problems, wrong)
    bad = {problem.row for problem in problems.values()}
    rows = _resolve(table, kind, world, [row for row in rows if row.number not in bad], problems, wrong)
    steps: list[Step] = []
    for row in rows:
        step = _step(table, kind, world, row, wrong)
        if step is not None:
            steps.append(step)
    _check_accounts(world, steps, wrong)
    _check_circles(table, world, steps, wrong)
    _check_inside(table, steps, rows, problems, wrong)
    bad = {problem.row for problem in problems.values()}
    steps = _in_order(table, [step for step in steps if step.row not in bad])
    found = sorted(problems.values(), key=lambda problem: (problem.row, places.get(problem.column, 0)))
    good = [row for row in rows if row.number not in bad]
    unchanged = len(good) - len(steps)
    return Plan(len(cells), steps, unchanged, found, _unknown(table, world, good), ignored, _digest(steps, found))


def find(table: Table, book: Book) -> tuple[Sheet, int, dict[str, int], list[str]]:
    """The sheet that holds the table, the row of its headings, where each column is (from 0), and headings that say nothing to us."""
    taken = headings(table)
    for sheet in book.sheets:
        for number, values in sheet.rows[:HEADING_ROWS_MAX]:
            names = [_heading(value, taken) for value in values]
            if table.key not in names:
                continue
            places: dict[str, int] = {}
            for place, name in enumerate(names):
                if name in places:
                    cell = f"{get_column_letter(place + 1)}{number}"
                    raise Refusal("import.heading_twice", heading=str(values[place]), cell=cell)
                if name:
                    places[name] = place
            lacking = [c.title for name, c in table.columns.items() if c.required and name not in places]
            if lacking:
                raise Refusal("import.heading_missing", heading=_both(lacking))
            ignored = [str(value) for value, name in zip(values, names, strict=True) if value is not None and not name]
            return sheet, number, places, ignored
    raise Refusal("import.no_table", heading=_both([table.columns[table.key].title]))


def _both(titles: Iterable[Any]) -> str:
    return ", ".join(f"{title.zh} / {title.en}" for title in titles)


def _heading(value: Value, taken: Mapping[str, str]) -> str:
    return taken.get(folded(value.replace("*", "").replace("＊", "")), "") if isinstance(value, str) else ""


# Cells → values.

Wrong = Callable[..., None]


def _read(
    table: Table,
    kind: CompiledKind,
    world: World,
    cells: list[tuple[int, list[Value]]],
    places: dict[str, int],
    wrong: Wrong,
) -> list[tuple[int, dict[str, Any]]]:
    readers = {name: _reader(table, kind, world, name) for name in places}
    rows = []
    for number, values in cells:
        given: dict[str, Any] = {}
        for name, place in places.items():
            value = values[place] if place < len(values) else None
            column = table.columns[name]
            if value is None:
                if column.required:
                    wrong(number, name, "import.required")
                continue
            if isinstance(value, str):
                if value in EXCEL_ERRORS:
                    wrong(number, name, "import.cell_error", text=value)
                    continue
                if value in DASHES:
                    if (column.required and not column.empties) or column.fixed or column.account:
                        wrong(number, name, "import.required")
                    else:
                        given[name] = Cleared()
                    continue
                if len(value) > CELL_CHARS_MAX:
                    wrong(number, name, "import.too_long", limit=CELL_CHARS_MAX)
                    continue
            try:
                given[name] = readers[name](value)
            except Refusal as refusal:
                wrong(number, name, refusal.code, **refusal.params)
        rows.append((number, given))
    return rows


def _reader(table: Table, kind: CompiledKind, world: World, name: str) -> Callable[[Value], Any]:
    """What turns a cell of this column into its value. The result of a ref is the folded key: what it stands for is found later."""
    column = table.columns[name]
    field_name, entry = table.field(name)
    field = kind.kind.fields.get(field_name)
    match column.type:
        case "text":
            most = 200 if entry else int(field.max) if field is not None and field.max is not None else CELL_CHARS_MAX
            return lambda value: _short(text_of(value), most)
        case "number":
            return lambda value: _number(value, column)
        case "date":
            return _date
        case "choice":
            choices = choices_of(table, kind, world, name)
            words = _by_words(choices)
            return lambda value: _choice(text_of(value), choices, words)
        case "known":
            most = int(field.max) if field is not None and field.max is not None else CELL_CHARS_MAX
            offered = _by_words(world.known[column.source]) | {folded(text): name for name, texts in column.words.items() for text in texts}
            return lambda value: offered.get(folded(text_of(value))) or _short(text_of(value), most)
        case "ref":
            return lambda value: text_of(value)
        case "refs":
            return lambda value: _refs(text_of(value), int(column.max or CELL_CHARS_MAX))
        case "roles":
            roles = field.columns["role"].of if field is not None else {}
            known = roles if isinstance(roles, dict) else {}
            role_words = _by_words(known)
            return lambda value: _roles(text_of(value), known, role_words)
        case "username":
            return lambda value: accounts.checked(text_of(value))
        case "password":
            return lambda value: _password(text_of(value))


def text_of(value: Value) -> str:
    """A cell as text: a number typed as one has no decimals, a date is written 2026-03-01."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    return str(value if value is not None else "")


def _short(text: str, most: int) -> str:
    if len(text) > most:
        raise Refusal("import.too_long", limit=most)
    return text


def _number(value: Value, column: Column) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    if not abs(number) < 1e15:
        raise Refusal("import.not_a_number", text=text_of(value))
    if column.min is not None and number < column.min:
        raise Refusal("import.below", min=text_of(column.min))
    if column.max is not None and number > column.max:
        raise Refusal("import.above", max=text_of(column.max))
    return int(number) if number.is_integer() else number


def _date(value: Value) -> str:
    if isinstance(value, date):
        return value.isoformat()[:10]
    plain = text_of(value).replace("年", "-").replace("月", "-").replace("日", "").replace("/", "-").replace(".", "-")
    try:
        year, month, day = (int(part) for part in plain.split("-"))
        return date(year, month, day).isoformat()
    except ValueError:
        raise Refusal("import.not_a_date", text=text_of(value)) from None


def _by_words(choices: Mapping[str, Label]) -> dict[str, str]:
    found = {folded(name): name for name in choices}
    for name, title in choices.items():
        for words in (title.zh, title.en):
            found.setdefault(folded(words), name)
    return found


def _choice(text: str, choices: Mapping[str, Label], words: Mapping[str, str]) -> str:
    found = words.get(folded(text))
    if found is None:
        raise Refusal("import.not_a_choice", text=text, choices=_choices(choices))
    return found


def _choices(choices: Mapping[str, Label]) -> str:
    shown = [f"{title.zh} / {title.en}" for title in choices.values()]
    return "; ".join([*shown[:CHOICES_SHOWN_MAX], *(["…"] if len(shown) > CHOICES_SHOWN_MAX else [])])


def _roles(text: str, choices: Mapping[str, Label], words: Mapping[str, str]) -> list[tuple[str, str]]:
    """(role, text of the area's key, empty for the whole plant) of each."""
    found = []
    for part in _parts(text):
        role, _, area = part.replace("＠", "@").partition("@")
        found.append((_choice(role.strip(), choices, words), area.strip()))
    return found


def _refs(text: str, most: int) -> list[str]:
    """The keys in a cell, each once."""
    found = {folded(part): part for part in _parts(text)}
    if len(found) > most:
        raise Refusal("import.too_many_refs", limit=most)
    return list(found.values())


def _parts(text: str) -> list[str]:
    """What semicolons, or what people write for them, stand between."""
    for mark in "；、，,\n":
        text = text.replace(mark, ";")
    return [part.strip() for part in text.split(";") if part.strip()]


def _password(text: str) -> str:
    if not PASSWORD_CHARS_MIN <= len(text) <= PASSWORD_CHARS_MAX:
        raise Refusal("auth.password_weak", min=PASSWORD_CHARS_MIN, max=PASSWORD_CHARS_MAX)
    return text


# Rows → documents.


def _match(
    table: Table,
    world: World,
    read: list[tuple[int, dict[str, Any]]],
    new_id: Callable[[], str],
    problems: Mapping[tuple[int, str], Problem],
    wrong: Wrong,
) -> list[_Row]:
    """Which document each row is about. The second row of a key, and one whose key is not of exactly one living document, is wrong."""
    first: dict[str, int] = {}
    rows = []
    for number, given in read:
        key = given.get(table.key)
        if not isinstance(key, str):
            continue
        spelling = spelling_of(table, given)
        if spelling in first:
            # A choice is a code by now, which nobody wrote: the row's number says the rest.
            said = [
                name for name in (table.key, *table.also_by) if table.columns[name].type != "choice" and isinstance(given.get(name), str)
            ]
            wrong(number, table.key, "import.twice", text=" ".join(given[name] for name in said), row=first[spelling])
            continue
        first[spelling] = number
        held = world.held.get(spelling, [])
        living = [one for one in held if not one.ended]
        if len(living) > 1:
            wrong(number, table.key, "import.ambiguous", text=key)
        elif held and not living:
            wrong(number, table.key, "import.ended", text=key)
        for name, column in table.columns.items():
            if column.together and _filled(table, name, given, living):
                others = [other for other in column.together if (number, other) not in problems]
                lacking = [table.columns[other].title for other in others if not _filled(table, other, given, living)]
                if lacking:
                    wrong(number, name, "import.together", headings=_both(lacking))
        rows.append(_Row(number, spelling, given, living[0] if living else None, living[0].id if living else new_id()))
    return rows


def spelling_of(table: Table, given: Mapping[str, Any]) -> str:
    """By what a row and a document are known to be the same: the folded key, and what else is in it."""
    values = (given.get(name) for name in (*table.also_by, table.key))
    return "|".join("" if value is None or isinstance(value, Cleared) else folded(str(value)) for value in values)


def _filled(table: Table, column: str, given: Mapping[str, Any], living: list[Held]) -> bool:
    if column in given:
        return not isinstance(given[column], Cleared)
    return bool(living) and _stands(table, column, living[0]) is not None


def _stands(table: Table, column: str, held: Held) -> Any:
    """What a document holds in this column."""
    field, entry = table.field(column)
    value = held.fields.get(field)
    return (value or {}).get(entry) if entry else value


def _resolve(
    table: Table, kind: CompiledKind, world: World, rows: list[_Row], problems: Mapping[tuple[int, str], Problem], wrong: Wrong
) -> list[_Row]:
    """Put ids where keys of other documents stood. A row that this file begins may be referred to as long as it is good itself, so what
    falls away is looked for until nothing more does."""
    asked = [name for name, column in table.columns.items() if column.of]
    inside = {row.key: row.id for row in rows if row.held is None}
    while True:
        bad: set[int] = set()
        for row in rows:
            for name in asked:
                for key in _keys(row.given.get(name)):
                    code = _unfound(world.refs[table.columns[name].of], inside if table.columns[name].of == table.kind else {}, key)
                    if code:
                        wrong(row.number, name, code, text=key)
                        bad.add(row.number)
        rows = [row for row in rows if row.number not in bad]
        if not bad:
            break
        inside = {row.key: row.id for row in rows if row.held is None}
    for row in rows:
        for name in asked:
            value = row.given.get(name)
            refs = world.refs[table.columns[name].of]
            own = inside if table.columns[name].of == table.kind else {}
            if isinstance(value, str):
                row.given[name] = _id(refs, own, value)
            elif isinstance(value, list) and table.columns[name].type == "refs":
                row.given[name] = [_id(refs, own, key) for key in value]
            elif isinstance(value, list):
                row.given[name] = [{"role": role, "area": _id(refs, own, area) if area else None} for role, area in value]
    return rows


def _keys(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    return [key for one in value if (key := one if isinstance(one, str) else one[1])]


def _unfound(refs: Mapping[str, list[Held]], inside: Mapping[str, str], key: str) -> str:
    held = refs.get(folded(key), [])
    living = [one for one in held if not one.ended]
    if len(living) + (folded(key) in inside) == 1:
        return ""
    return "import.ref_ambiguous" if living else "import.ref_ended" if held else "import.ref_unknown"


def _id(refs: Mapping[str, list[Held]], inside: Mapping[str, str], key: str) -> str:
    living = [one.id for one in refs.get(folded(key), []) if not one.ended]
    return living[0] if living else inside[folded(key)]


def _step(table: Table, kind: CompiledKind, world: World, row: _Row, wrong: Wrong) -> Step | None:
    """What a row would do; None where it does nothing or may not."""
    if not _allowed(table, world, row):
        wrong(row.number, table.area or table.key, "import.not_yours")
        return None
    if row.held is None and any(table.columns[name].empties and isinstance(value, Cleared) for name, value in row.given.items()):
        return None  # empty already
    account = _account(table, world, row, wrong)
    fields: dict[str, Any] = {}
    acts: dict[str, dict[str, Any]] = {}
    shown: dict[str, tuple[str, str]] = {}
    for name, value in row.given.items():
        column = table.columns[name]
        if column.account:
            continue
        before = _stands(table, name, row.held) if row.held is not None else None
        after = None if isinstance(value, Cleared) else value
        if _same(before, after):
            continue
        if row.held is not None and name == table.key:
            continue  # the same key in another spelling
        if row.held is not None and column.fixed:
            wrong(row.number, name, "import.fixed", text=show(table, kind, world, name, before))
            continue
        shown[name] = (show(table, kind, world, name, before), show(table, kind, world, name, after))
        field, entry = table.field(name)
        if row.held is not None and column.by:
            acts.setdefault(column.by, {})[field] = [] if after is None and column.type == "roles" else after
        elif entry:
            whole = fields.setdefault(field, dict((row.held.fields.get(field) if row.held is not None else None) or {}))
            if after is None:
                whole.pop(entry, None)
            else:
                whole[entry] = after
        elif after is not None or row.held is not None:
            fields[field] = after
    if table.lines and fields:
        # A line is said whole.
        fields = {name: value for name, value in row.given.items() if value is not None and not isinstance(value, Cleared)}
    known = kind.kind.fields
    if table.lines:
        known = {name: field for name, field in {**known, **kind.kind.sets[table.lines].fields}.items() if name in table.columns}
    for field, value in fields.items():
        if known[field].type == "label":
            fields[field] = {"zh": value.get("zh", ""), "en": value.get("en", "")}
        elif isinstance(value, dict) and not value:
            fields[field] = None
    for found in validate(known, fields, whole=row.held is None, shown=lambda *_: True, check=lambda *_: None):
        root = found.field.partition(".")[0]
        column_name = next((name for name in table.columns if table.field(name)[0] == root), table.key)
        wrong(row.number, column_name, found.code, **{k: v for k, v in found.params.items() if k != "field"})
    if account is not None:
        shown["username"] = ("", account.username)
    if not fields and not acts and account is None:
        return None
    seq = row.held.seq if row.held is not None else 0
    return Step(row.number, row.key, row.id, seq, row.held is None, fields, list(acts.items()), account, shown)


def _allowed(table: Table, world: World, row: _Row) -> bool:
    """Whether who imports may do this where the document is, and where it would go."""
    if not table.area:
        return world.may(None)
    areas = [row.held.fields.get(table.area)] if row.held is not None else []
    if isinstance(row.given.get(table.area), str):
        areas.append(row.given[table.area])
    return all(world.may(area) for area in areas or [None])


def _account(table: Table, world: World, row: _Row, wrong: Wrong) -> Account | None:
    """The account that a row makes; none where the person has one: its password is not a table's to change."""
    username, password = row.given.get("username"), row.given.get("password")
    if username is None:
        if password is not None and world.accounts.get(row.id) is None:
            wrong(row.number, "password", "import.username_needed")
        return None
    has = world.accounts.get(row.id)
    if has == username:
        return None
    if has is not None:
        wrong(row.number, "username", "import.account_other", username=has)
        return None
    if password is None:
        wrong(row.number, "username", "import.password_needed")
        return None
    return Account(username, password)


def _check_accounts(world: World, steps: list[Step], wrong: Wrong) -> None:
    taken = set(world.accounts.values())
    made = [step for step in steps if step.account is not None]
    for step in made:
        assert step.account is not None
        if step.account.username in taken:
            wrong(step.row, "username", "auth.username_taken", username=step.account.username)
        taken.add(step.account.username)
    if len(made) > ACCOUNTS_MAX:
        raise Refusal("import.too_many_accounts", limit=ACCOUNTS_MAX)


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, str) and isinstance(after, str):
        # Blanks are read as one: what stands may have been typed with two.
        return " ".join(before.split()) == after
    if isinstance(after, list) or isinstance(before, list):
        if any(isinstance(one, str) for one in (*(before or []), *(after or []))):
            return set(before or []) == set(after or [])
        return {(one["role"], one.get("area")) for one in before or []} == {(one["role"], one.get("area")) for one in after or []}
    return bool(before == after) or (not before and before != 0 and after is None)


def _own(table: Table) -> list[str]:
    """Fields that refer to another document of the same table."""
    return [table.field(name)[0] for name, column in table.columns.items() if column.of == table.kind and column.type == "ref"]


def _after(step: Step, field: str) -> Any:
    """What a step writes in this field, itself or by a transition."""
    return next((given[field] for _, given in step.acts if field in given), step.fields.get(field))


def _check_circles(table: Table, world: World, steps: list[Step], wrong: Wrong) -> None:
    """Nothing lies in itself, however far round."""
    for field in _own(table):
        above = {held.id: held.fields.get(field) for one in world.held.values() for held in one}
        for step in steps:
            if step.new or any(field in given for _, given in step.acts):
                above[step.id] = _after(step, field)
        for step in steps:
            seen: set[str] = set()
            at = above.get(step.id)
            while at is not None and at != step.id and at not in seen:
                seen.add(at)
                at = above.get(at)
            if at == step.id:
                column = next(name for name in table.columns if table.field(name)[0] == field)
                wrong(step.row, column, "import.circle")


def _check_inside(table: Table, steps: list[Step], rows: list[_Row], problems: Mapping[tuple[int, str], Problem], wrong: Wrong) -> None:
    """What refers to a row that falls away falls away with it."""
    columns = {table.field(name)[0]: name for name, column in table.columns.items() if column.of == table.kind}
    while columns:
        bad = {problem.row for problem in problems.values()}
        gone = {row.id: row.given.get(table.key) for row in rows if row.held is None and row.number in bad}
        lost = [(s, field) for s in steps if s.row not in bad for field in columns if _after(s, field) in gone]
        if not lost:
            return
        for step, field in lost:
            wrong(step.row, columns[field], "import.ref_unknown", text=gone[_after(step, field)])


def _in_order(table: Table, steps: list[Step]) -> list[Step]:
    """Documents before those that refer to them; circles are gone by now."""
    own = _own(table)
    if not own:
        return steps
    by_id = {step.id: step for step in steps}
    done: dict[str, Step] = {}
    for step in steps:
        way: list[Step] = []
        at: Step | None = step
        while at is not None and at.id not in done and at not in way:
            way.append(at)
            at = next((by_id[ref] for field in own if (ref := _after(at, field)) in by_id), None)
        done.update({one.id: one for one in reversed(way) if one.id not in done})
    return list(done.values())


def _unknown(table: Table, world: World, rows: list[_Row]) -> dict[str, int]:
    """What columns of known things hold that nobody offers, and in how many rows."""
    found: dict[str, int] = {}
    for name, column in table.columns.items():
        if column.type == "known":
            for row in rows:
                value = row.given.get(name)
                if isinstance(value, str) and value not in world.known[column.source]:
                    found[value] = found.get(value, 0) + 1
    return found


def _digest(steps: list[Step], problems: list[Problem]) -> str:
    content = [[step.row, step.key, step.new, step.shown] for step in steps], [[p.cell, p.code] for p in problems]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


# Values → cells.


def show(table: Table, kind: CompiledKind, world: World, name: str, value: Any) -> str:
    """A value as it stands in a cell: what this column's reader reads back as the same."""
    if value is None or (isinstance(value, str) and value in DASHES):
        return ""
    column = table.columns[name]
    field = kind.kind.fields.get(table.field(name)[0])
    match column.type:
        case "choice":
            choices = choices_of(table, kind, world, name)
            return title(choices[value], world.lang) if value in choices else str(value)
        case "known":
            offered = world.known[column.source]
            return title(offered[value], world.lang) if value in offered else str(value)
        case "ref":
            return _key_of(world, column.of, value)
        case "refs":
            return ("；" if world.lang == "zh" else "; ").join(filter(None, (_key_of(world, column.of, one) for one in value)))
        case "roles":
            roles = field.columns["role"].of if field is not None else {}
            words = roles if isinstance(roles, dict) else {}
            parts = [
                title(words[one["role"]], world.lang) + (f"@{_key_of(world, column.of, one['area'])}" if one.get("area") else "")
                for one in value
                if one["role"] in words
            ]
            return ("；" if world.lang == "zh" else "; ").join(dict.fromkeys(parts))
    return " ".join(text_of(value).split())


def choices_of(table: Table, kind: CompiledKind, world: World, name: str) -> Mapping[str, Label]:
    """What can be chosen in a column of that type: id → title."""
    column = table.columns[name]
    if column.source:
        return world.known[column.source]
    field = kind.kind.fields.get(table.field(name)[0])
    return field.of if field is not None and isinstance(field.of, dict) else {}


def title(of: Label, lang: str) -> str:
    """A title in this language."""
    return (of.en if lang == "en" else of.zh) or of.zh or of.en


def _key_of(world: World, kind: str, document: str) -> str:
    return world.keys[kind].get(document, "")

"""Kind files, and what a plant begins with: read from disk, said by the server's own device at start.

`extends: <file>` takes over another file's content; what the file says itself stands over it (maps are joined, all else is replaced).
A file with `base: true` is only there to be extended. On the wire a kind is whole.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import msgspec
import yaml

from backend.flow.judge import CALENDAR_KEY, PLANT_KEY, FlowJudge
from backend.flow.kind import CompiledKind, bound_key, compile_kind, pack_source
from backend.flow.zones import zone_offsets
from backend.kernel.clock import Clock, wall_clock
from backend.kernel.errors import Text
from backend.kernel.ids import SERVER_AUTHOR, derived, kind_document
from backend.store import Store
from backend.sync.judge import Body, Docs
from backend.sync.op import Act, New, Op
from backend.sync.shapes import TxDocs

BACKEND = Path(__file__).parents[1]


class KindChanged(ValueError):
    """Kind files are not what the ledger holds under the same version. `text` says which, and what to do."""

    def __init__(self, changed: Sequence[tuple[str, int]]) -> None:
        files = ", ".join(f"{_file_of(name)} (version: {version})" for name, version in changed)
        zh = (
            f"这些表单文件（或它们 extends 的文件）的内容改了，版本号没有提高：{files}。已有单据在按原来的内容办理，所以服务没有启动。"
            "请把每个文件里的 version 加 1，或恢复原来的内容，再启动。"
        )
        en = (
            f"These kind files (or a file that they extend) were changed without a new version: {files}. Documents are under way under the "
            "old text, so the server did not start. Raise the version in each file by one, or put the old content back, then start again."
        )
        self.text = Text(zh, en)
        super().__init__(f"{zh} {en}")


class _Loader(yaml.SafeLoader):
    """YAML with JSON's notion of what a word is: `no` is a text, and so is a date."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def _file_of(kind: str) -> str:
    """Where a kind of the product stands, from the top of the program."""
    found = [path for path in kind_files() if path.stem == kind]
    return str(found[0].relative_to(BACKEND.parent)) if found else f"{kind}.yaml"


def kind_files(root: Path = BACKEND) -> list[Path]:
    """Every kind file of the product, bases included."""
    return sorted([*root.glob("flow/kinds/*.yaml"), *root.glob("domains/*/kinds/*.yaml")])


def read_kind(path: Path) -> dict[str, Any] | None:
    """A kind file's content, whole; None for a base. Raises ValueError where `extends` leads nowhere or in a circle."""
    content = _whole(path, ())
    return None if content.pop("base", False) else content


def _whole(path: Path, inside: tuple[Path, ...]) -> dict[str, Any]:
    content: dict[str, Any] = read_yaml(path)
    base = content.pop("extends", None)
    if base is None:
        return content
    above = path.with_name(f"{base}.yaml")
    if above in (*inside, path) or not above.is_file():
        raise ValueError(f"{path.name}: extends {base}")
    begun = _whole(above, (*inside, path))
    begun.pop("base", None)
    return _joined(begun, content)


def _joined(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for name, value in above.items():
        found[name] = _joined(found[name], value) if isinstance(value, dict) and isinstance(found.get(name), dict) else value
    return found


def read_yaml(path: Path) -> Any:
    """A YAML file as JSON values."""
    return yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader


@cache
def file_kinds() -> tuple[CompiledKind, ...]:
    """The kinds of the product's files."""
    return tuple(compile_kind(content) for path in kind_files() if (content := read_kind(path)) is not None)


@cache
def role_table() -> dict[str, list[str]]:
    """The roles a new plant begins with, and their capabilities."""
    return {name: role["caps"] for name, role in read_yaml(BACKEND / "domains/people/roles.yaml")["roles"].items()}


@cache
def capabilities() -> frozenset[str]:
    """Every capability that a role may have."""
    return frozenset(read_yaml(BACKEND / "domains/people/roles.yaml")["capabilities"])


class Says(Protocol):
    """The part of sync that writes ops by the server's own device."""

    store: Store

    async def say(self, *ops: Op) -> Sequence[Any]: ...


async def start(sync: Says, judge: FlowJudge, clock: Clock = wall_clock) -> dict[str, int]:
    """Say what the ledger lacks: kinds, limits, the plant, its calendar. Returns each kind's newest version.

    Raises KindChanged where a file was changed without a new version: documents are under way under the old text.
    """
    async with sync.store.read() as tx:
        docs = TxDocs(tx)
        held = {doc.key: doc for doc in await docs.all("kind")}
        limits = {doc.key for doc in await docs.all("limit")}
        plant = await docs.get(PLANT_KEY)
        calendar = await docs.get(CALENDAR_KEY)
        await judge.warm(docs)
    await say_all(sync, _new_kinds(held))
    await say_all(sync, [op for op in _limits() if op.doc not in limits])
    if plant is None:
        await say_all(sync, [server_new(PLANT_KEY, 1, {**read_yaml(BACKEND / "flow/plant.yaml"), "roles": role_table()})])
    await say_all(sync, await _calendar_ops(sync, calendar.body if calendar is not None else None, clock()))
    return {kind.name: judge.newest(kind.name) or 1 for kind in judge.kinds()}


async def say_all(sync: Says, ops: Iterable[Op]) -> None:
    """Say these by the server's own device. Raises RuntimeError where one is not taken."""
    for op in ops:
        for verdict in await sync.say(op):
            if verdict.state != "ok":
                raise RuntimeError(f"{op.doc} was not accepted: {verdict}")


async def _calendar_ops(sync: Says, held: Body | None, now: int) -> list[Op]:
    """What begins the calendar out of the plant's own shifts, or brings its offsets to what the zone's data say now."""
    if held is not None and held["status"] != "in_use":
        return []
    if held is not None:
        zone, offsets = held["fields"]["zone"][0], held["fields"]["offsets"][0]
        found = zone_offsets(zone, now)
        given = {"zone": zone, "offsets": found}
        return [Act(0, 0, 0, SERVER_AUTHOR, CALENDAR_KEY, "set_zone", given, 0)] if found is not None and found != offsets else []
    async with sync.store.read() as tx:
        plant = await TxDocs(tx).get(PLANT_KEY)
    given = dict(read_yaml(BACKEND / "flow/calendar.yaml"))
    keys = given.pop("shift_keys")
    fields = plant.body["fields"] if plant is not None else {}
    shifts = fields["shifts"][0]
    given["shifts"] = [{"key": keys[n] if len(shifts) == len(keys) else f"s{n + 1}", **shift} for n, shift in enumerate(shifts)]
    given["handover_min"] = fields["handover_min"][0]
    given["offsets"] = zone_offsets(given["zone"], now)
    ahead = fields["zone_offset_min"][0]
    if given["offsets"][-1]["offset_min"] != ahead:
        # The plant was set to other hours than the zone's: they stay, and no zone's data will move them.
        given |= {"zone": f"UTC{ahead / 60:+g}", "offsets": [{"since": 0, "offset_min": ahead}]}
    return [server_new(CALENDAR_KEY, 1, given)]


async def changed_kinds(docs: Docs) -> KindChanged | None:
    """What would stop the start: the kind files that were changed without a new version."""
    try:
        _new_kinds({doc.key: doc for doc in await docs.all("kind")})
    except KindChanged as changed:
        return changed
    return None


def _new_kinds(held: dict[str, Any]) -> list[New]:
    said, changed = [], []
    for compiled in sorted(file_kinds(), key=lambda k: k.name != "kind"):
        kind = compiled.kind
        key = f"kind/{kind_document(kind.kind, kind.version)}"
        if key in held:
            source = pack_source(kind)
            if any(held[key].body["fields"].get(name, [None])[0] != text for name, text in source.items()):
                changed.append((kind.kind, kind.version))
            continue
        said.append(kind_op(compiled))
    if changed:
        raise KindChanged(changed)
    return said


def _limits() -> list[New]:
    content: dict[str, dict[str, Any]] = read_yaml(BACKEND / "flow/limits.yaml") | plant_limits()
    version = max(kind.kind.version for kind in file_kinds() if kind.name == "limit")
    return [server_new(f"limit/{derived(f'limit:{name}')}", version, {"name": name, **fields}) for name, fields in content.items()]


BOUNDS = {"min": ("最小值", "lowest"), "max": ("最大值", "highest")}


def plant_limits() -> dict[str, dict[str, Any]]:
    """The limits that stand over the check items whose figure the plant must set, by name: with the list's placeholder as value, or with
    none, and then for both bounds."""
    found: dict[str, dict[str, Any]] = {}
    for compiled in file_kinds():
        for item in compiled.kind.items:
            if not item.plant_sets_limit:
                continue
            given = {bound: getattr(item, bound) for bound in BOUNDS if getattr(item, bound) is not None}
            for bound in given or BOUNDS:
                zh, en = BOUNDS[bound]
                of = compiled.kind.title
                fields = {
                    "title": {"zh": f"{of.zh}：{item.title.zh}（{zh}）", "en": f"{of.en}: {item.title.en} ({en})"},
                    "value": given.get(bound),
                    "unit": item.unit,
                    "law": item.law and item.law.id,
                    "clause": item.law and item.law.clause,
                    "sure": item.limit_sure or item.sure,
                }
                found[bound_key(item.id, bound)] = {name: value for name, value in fields.items() if value is not None}
    return found


def kind_op(compiled: CompiledKind) -> New:
    """What begins a kind version's document. Raises ValueError where the kind is too long."""
    kind = compiled.kind
    fields = {"name": kind.kind, "number": kind.version, "title": msgspec.to_builtins(kind.title), **pack_source(kind)}
    return server_new(f"kind/{kind_document(kind.kind, kind.version)}", 1, fields)


def server_new(key: str, version: int, fields: dict[str, Any]) -> New:
    """A `new` of the server's own."""
    return New(0, 0, 0, SERVER_AUTHOR, key, version, fields)

"""The first start of a demo plant: its register and accounts in one transaction, its labels, and what stands on the screen."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from backend.auth import accounts
from backend.auth.passwords import Passwords
from backend.demo.ids import person_id, tag_code
from backend.demo.past import Mark
from backend.demo.plant import Plant, small
from backend.demo.register import HISTORY_DAYS, ops
from backend.domains.equipment import codes
from backend.kernel.errors import Text
from backend.store import Store
from media.codes import label

PASSWORD = "anlu-demo"  # noqa: S105 - of the demo only, and printed
AT_ONCE = 500
LABELS_PRINTED = 20
"""Enough to try; a desk prints the rest."""

Say = Callable[..., Awaitable[Sequence[Any]]]


async def state(store: Store) -> Literal["empty", "demo", "other"]:
    """Whether the store holds nothing of a plant's own, a plant made here, or another one. `store` is migrated."""
    first = small().people[0].username
    async with store.read() as tx:
        account = await accounts.find(first)
        if account is not None and account.person == person_id(first):
            return "demo"
        own = await tx.one("SELECT 1 FROM document WHERE key >= 'person/' AND key < 'person0' LIMIT 1")
        return "other" if own is not None or await accounts.any_yet() else "empty"


async def seed(
    plant: Plant, store: Store, say: Say, versions: dict[str, int], passwords: Passwords, now: int, days: int = HISTORY_DAYS
) -> None:
    """Fill an empty plant. `versions`: the newest version of each kind; `days`: how many a large one's past is to have. Raises RuntimeError
    where an op is not accepted."""
    named = [person for person in plant.people if person.username]
    hashes = {person.username: await passwords.hash(PASSWORD) for person in named}
    said = ops(plant, versions, now)
    async with store.write() as tx:
        for at in range(0, len(said), AT_ONCE):
            for verdict in await say(*said[at : at + AT_ONCE], tx=tx):
                if verdict.state != "ok":
                    raise RuntimeError(f"the demo plant does not fit its kinds: {verdict}")
        for person in named:
            await accounts.put(person.username, person_id(person.key), hashes[person.username], now)
        if plant.large:
            await Mark(now, days).write(tx)


def labels(plant: Plant, origin: str) -> bytes:
    """The first machines' labels as a PDF, a page each."""
    pages = []
    for machine in plant.machines[:LABELS_PRINTED]:
        code = tag_code(machine.number)
        pages.append(label.Label(codes.url(origin, code), codes.typed(code), machine.number, machine.names.zh, machine.names.en))
    return label.pdf(pages)


def welcome(plant: Plant, origin: str, labels_file: str) -> Text:
    """What stands on the screen at start."""
    named = [person for person in plant.people if person.username]
    wide = max(len(person.username) for person in named)
    zh = "\n".join(f"  {p.username:<{wide}}  {p.names.zh}：{p.tries.zh}" for p in named)
    en = "\n".join(f"  {p.username:<{wide}}  {p.names.en}: {p.tries.en}" for p in named)
    code = codes.typed(tag_code(plant.machines[0].number))
    first = plant.machines[0].names
    counts = len(plant.areas), len(plant.people), sum(one.contractor for one in plant.people), len(plant.machines), len(plant.routes)
    return Text(
        f"安炉演示工厂：{origin}\n"
        f"{counts[0]} 个区域，{counts[1]} 人（承包商 {counts[2]} 人），{counts[3]} 台设备，{counts[4]} 条巡检路线\n"
        f"密码都是 {PASSWORD}\n{zh}\n"
        f"机械标签（可打印，也可在屏幕上扫描）：{labels_file}\n或手工输入 {first.zh} 的标签码 {code}",
        f"Anlu demo plant: {origin}\n"
        f"{counts[0]} areas, {counts[1]} people ({counts[2]} contractors'), {counts[3]} machines, {counts[4]} round routes\n"
        f"The password is {PASSWORD} for everybody\n{en}\n"
        f"Labels of the machines (print them, or scan them from the screen): {labels_file}\nor type the code of {first.en}: {code}",
    )


NOT_EMPTY = Text(
    "这个数据文件夹里已有工厂数据，演示不会写入。请用 ANLU_DATA 指定另一个文件夹，或运行 anlu serve。",
    "This data folder already holds a plant; the demo writes nothing into it. Name another with ANLU_DATA, or run anlu serve.",
)

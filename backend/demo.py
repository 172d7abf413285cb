"""A demo plant: 5 areas, 20 machines with their tags, 8 people who each can try something.

Everything is said by ops of the server's own device, so it is in the ledger like anything else; ids follow from names, so that every demo
plant is the same. The password is printed and the tag codes can be guessed: never for a plant.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from backend import demo_rounds
from backend.auth import accounts
from backend.auth.passwords import Passwords
from backend.auth.permissions import Role
from backend.domains.equipment import codes
from backend.kernel.errors import Text
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.store import Store
from backend.sync.op import Act, New, Op
from media.codes import label

PASSWORD = "anlu-demo"  # noqa: S105 - of the demo only, and printed


class DemoArea(msgspec.Struct, frozen=True):
    """An area, and the one it lies in."""

    key: str
    code: str
    names: Text
    place: tuple[float, float, int]
    parent: str | None = None


class DemoMachine(msgspec.Struct, frozen=True):
    """A machine; `number` is the plant's own."""

    number: str
    names: Text
    type: str
    area: str
    criticality: str


class DemoPerson(msgspec.Struct, frozen=True):
    """A person; `username` is that of the account too. `tries` says what can be tried."""

    username: str
    number: str
    names: Text
    roles: tuple[tuple[str, str | None], ...]
    tries: Text
    employer: Text = Text("滨江钢铁", "Binjiang Steel")


AREAS = (
    DemoArea("steelmaking", "LG", Text("炼钢跨", "Steelmaking bay"), (31.40512, 121.43871, 120)),
    DemoArea("casting", "LZ", Text("连铸跨", "Casting bay"), (31.40588, 121.44012, 100), "steelmaking"),
    DemoArea("cast_house", "GL", Text("高炉出铁场", "Blast furnace cast house"), (31.40231, 121.43502, 80)),
    DemoArea("gas", "MQ", Text("煤气区", "Gas area"), (31.40077, 121.43755, 150)),
    DemoArea("rolling", "ZG", Text("轧钢车间", "Rolling mill"), (31.40834, 121.44391, 200)),
)

MACHINES = (
    DemoMachine("LG-QZ-01", Text("1# 铸造起重机 180/63 t", "Ladle crane 1, 180/63 t"), "overhead_crane", "steelmaking", "A"),
    DemoMachine("LG-QZ-02", Text("2# 铸造起重机 180/63 t", "Ladle crane 2, 180/63 t"), "overhead_crane", "steelmaking", "A"),
    DemoMachine("LG-QZ-03", Text("3# 铸造起重机 125/32 t", "Ladle crane 3, 125/32 t"), "overhead_crane", "steelmaking", "A"),
    DemoMachine("LG-QZ-04", Text("4# 加料起重机 80/50 t", "Charging crane 4, 80/50 t"), "overhead_crane", "steelmaking", "A"),
    DemoMachine("LG-QZ-05", Text("5# 渣跨起重机 75/20 t", "Slag bay crane 5, 75/20 t"), "overhead_crane", "steelmaking", "B"),
    DemoMachine("LZ-QZ-01", Text("1# 连铸铸造起重机 160/50 t", "Caster ladle crane 1, 160/50 t"), "overhead_crane", "casting", "A"),
    DemoMachine("LZ-QZ-02", Text("2# 连铸铸造起重机 160/50 t", "Caster ladle crane 2, 160/50 t"), "overhead_crane", "casting", "A"),
    DemoMachine("LZ-QZ-03", Text("3# 出坯跨起重机 32 t", "Billet bay crane 3, 32 t"), "overhead_crane", "casting", "B"),
    DemoMachine("GL-QZ-01", Text("1# 出铁场起重机 50/10 t", "Cast house crane 1, 50/10 t"), "overhead_crane", "cast_house", "A"),
    DemoMachine("GL-QZ-02", Text("2# 铸铁机起重机 32/5 t", "Pig casting crane 2, 32/5 t"), "overhead_crane", "cast_house", "B"),
    DemoMachine("ZG-QZ-01", Text("1# 轧机检修起重机 50/10 t", "Mill service crane 1, 50/10 t"), "overhead_crane", "rolling", "B"),
    DemoMachine("LG-GB-07", Text("7# 钢水罐 180 t", "Steel ladle 7, 180 t"), "steel_ladle", "steelmaking", "A"),
    DemoMachine("LG-ZL-01", Text("1# 转炉 150 t", "Converter 1, 150 t"), "converter", "steelmaking", "A"),
    DemoMachine("LZ-LZ-01", Text("1# 方坯连铸机", "Billet caster 1"), "continuous_caster", "casting", "A"),
    DemoMachine("GL-GL-01", Text("1# 高炉出铁场设备", "Cast house of furnace 1"), "cast_house", "cast_house", "A"),
    DemoMachine("MQ-GH-01", Text("转炉煤气柜 8 万 m³", "Converter gas holder, 80,000 m³"), "gas_holder", "gas", "A"),
    DemoMachine("MQ-JY-02", Text("2# 煤气加压机", "Gas booster 2"), "gas_booster", "gas", "A"),
    DemoMachine("ZG-ZJ-01", Text("1# 棒材轧机", "Bar mill 1"), "rolling_mill", "rolling", "B"),
    DemoMachine("ZG-PD-03", Text("3# 皮带输送机", "Belt conveyor 3"), "belt_conveyor", "rolling", "C"),
    DemoMachine("ZG-CC-05", Text("5# 叉车 5 t", "Forklift 5, 5 t"), "forklift", "rolling", "C"),
)

PEOPLE = (
    DemoPerson(
        "worker",
        "10231",
        Text("张伟", "Zhang Wei"),
        (("worker", "steelmaking"),),
        Text("扫码，做天车班前检查，随手拍隐患", "scan a tag, check a crane before the shift, snap a hazard"),
    ),
    DemoPerson(
        "inspector",
        "10318",
        Text("李敏", "Li Min"),
        (("inspector", "steelmaking"), ("inspector", "cast_house")),
        Text(
            "巡检：断网扫码、逐项检查、拍照，联网后自动送达",
            "patrol: scan and check with no network, with photos; it is sent when there is one",
        ),
    ),
    DemoPerson(
        "guardian",
        "10402",
        Text("王强", "Wang Qiang"),
        (("guardian", "steelmaking"), ("guardian", "gas")),
        Text("现场监护：查看本区域机械与隐患", "guardian on site: machines and hazards of the area"),
        Text("华安检修（承包商）", "Hua'an Maintenance (contractor)"),
    ),
    DemoPerson(
        "supervisor",
        "10077",
        Text("赵刚", "Zhao Gang"),
        (("supervisor", "steelmaking"),),
        Text(
            "看检查结果和隐患，派人整改，消除天车故障，当面重置 PIN",
            "see checks and hazards, assign them, clear a crane's fault, reset a PIN",
        ),
    ),
    DemoPerson(
        "safety",
        "10012",
        Text("陈静", "Chen Jing"),
        (("safety", None),),
        Text("全厂隐患：验收、退回、关闭", "hazards of the whole plant: accept, return, close"),
    ),
    DemoPerson(
        "gate",
        "10555",
        Text("刘洋", "Liu Yang"),
        (("gate", None),),
        Text("门岗：登录、查看，报告隐患", "gate: sign in, look, report a hazard"),
    ),
    DemoPerson(
        "manager",
        "10003",
        Text("周建国", "Zhou Jianguo"),
        (("manager", None),),
        Text("查看全厂情况", "see the whole plant"),
    ),
    DemoPerson(
        "admin",
        "10001",
        Text("孙丽", "Sun Li"),
        (("admin", None),),
        Text("人员、账号、机械、手机管理", "people, accounts, machines, phones"),
    ),
)


def area_id(key: str) -> str:
    return derived(f"demo:area:{key}")


def person_id(username: str) -> str:
    return derived(f"demo:person:{username}")


def machine_id(number: str) -> str:
    return derived(f"demo:machine:{number}")


def tag_code(number: str) -> str:
    """The code on a machine's tag."""
    return codes.make(UUID(derived(f"demo:tag:{number}")).bytes[: codes.CODE_RANDOM_BYTES])


async def state(store: Store) -> Literal["empty", "demo", "other"]:
    """Whether the store holds nothing of a plant's own, a plant made here, or another one. `store` is migrated."""
    async with store.read() as tx:
        account = await accounts.find(PEOPLE[0].username)
        if account is not None and account.person == person_id(PEOPLE[0].username):
            return "demo"
        own = await tx.one("SELECT 1 FROM document WHERE key >= 'person/' AND key < 'person0' LIMIT 1")
        return "other" if own is not None or await accounts.any_yet() else "empty"


Say = Callable[..., Awaitable[Sequence[Any]]]


async def seed(store: Store, say: Say, versions: dict[str, int], passwords: Passwords, now: int) -> None:
    """Fill an empty plant. `versions`: the newest version of each kind. Raises RuntimeError where an op is not accepted."""
    hashes = {person.username: await passwords.hash(PASSWORD) for person in PEOPLE}
    async with store.write() as tx:
        for verdict in await say(*ops(versions), *demo_rounds.ops(versions, now), tx=tx):
            if verdict.state != "ok":
                raise RuntimeError(f"the demo plant does not fit its kinds: {verdict}")
        for person in PEOPLE:
            await accounts.put(person.username, person_id(person.username), hashes[person.username], now)


def ops(versions: dict[str, int]) -> list[Op]:
    """What the server's own device says to begin the plant."""

    def new(kind: str, name: str, fields: dict[str, Any]) -> Op:
        return New(0, 0, 0, SERVER_AUTHOR, f"{kind}/{name}", versions[kind], fields)

    def both(text: Text) -> dict[str, str]:
        return {"zh": text.zh, "en": text.en}

    said: list[Op] = []
    for area in AREAS:
        lat, lon, radius_m = area.place
        fields: dict[str, Any] = {"code": area.code, "names": both(area.names), "place": {"lat": lat, "lon": lon, "radius_m": radius_m}}
        if area.parent is not None:
            fields["parent"] = area_id(area.parent)
        said.append(new("area", area_id(area.key), fields))
    for person in PEOPLE:
        roles = [msgspec.to_builtins(Role(role, area_id(area) if area else None)) for role, area in person.roles]
        fields = {"names": both(person.names), "number": person.number, "employer": person.employer.zh, "roles": roles}
        said.append(new("person", person_id(person.username), fields))
    for machine in MACHINES:
        fields = {
            "number": machine.number,
            "names": both(machine.names),
            "type": machine.type,
            "area": area_id(machine.area),
            "criticality": machine.criticality,
        }
        said.append(new("machine", machine_id(machine.number), fields))
        tag = codes.document_id(tag_code(machine.number))
        said.append(new("tag", tag, {"code": tag_code(machine.number)}))
        bound = {"machine": machine_id(machine.number)}
        said.append(Act(0, 0, 0, SERVER_AUTHOR, f"tag/{tag}", "claim", bound, 0))
    return said


def labels(origin: str) -> bytes:
    """The machines' labels as a PDF, a page each."""
    pages = []
    for machine in MACHINES:
        code = tag_code(machine.number)
        pages.append(label.Label(codes.url(origin, code), codes.typed(code), machine.number, machine.names.zh, machine.names.en))
    return label.pdf(pages)


def welcome(origin: str, labels_file: str) -> Text:
    """What stands on the screen at start."""
    wide = max(len(person.username) for person in PEOPLE)
    zh = "\n".join(f"  {p.username:<{wide}}  {p.names.zh}：{p.tries.zh}" for p in PEOPLE)
    en = "\n".join(f"  {p.username:<{wide}}  {p.names.en}: {p.tries.en}" for p in PEOPLE)
    code = codes.typed(tag_code(MACHINES[0].number))
    first = MACHINES[0].names
    return Text(
        f"安炉演示工厂：{origin}\n密码都是 {PASSWORD}\n{zh}\n"
        f"机械标签（可打印，也可在屏幕上扫描）：{labels_file}\n或手工输入 {first.zh} 的标签码 {code}",
        f"Anlu demo plant: {origin}\nThe password is {PASSWORD} for everybody\n{en}\n"
        f"Labels of the machines (print them, or scan them from the screen): {labels_file}\nor type the code of {first.en}: {code}",
    )


NOT_EMPTY = Text(
    "这个数据文件夹里已有工厂数据，演示不会写入。请用 ANLU_DATA 指定另一个文件夹，或运行 anlu serve。",
    "This data folder already holds a plant; the demo writes nothing into it. Name another with ANLU_DATA, or run anlu serve.",
)

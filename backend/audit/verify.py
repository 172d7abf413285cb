"""Looks through the whole ledger for what was changed: every entry, how they hang together, the signed heads, the sealed values;
and whether the documents are what the ledger gives.

report = await verify(store, keys, lambda: rebuild.differences(store, judge))
print(report.text()); sys.exit(0 if report.ok else 1)
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from backend.audit import heads
from backend.audit.chain import COLUMNS, START, Problem, check
from backend.audit.cold import Cold
from backend.store import Store, Tx

PAGE_ROWS = 5_000
PROBLEMS_SHOWN_MAX = 50

_SAYS = {
    "order": ("顺序不对", "out of order"),
    "hash": ("内容与写入时不符", "not what was written"),
    "bytes": ("操作的字节与编号不符", "the op's bytes do not fit its id"),
    "kind": ("不认识的条目", "no kind of entry we write"),
    "cut": ("末尾被截断或改写", "the end was cut off or written anew"),
    "restored": ("由备份恢复，其后的条目已丢失", "restored from a backup: the entries after it are gone"),
    "sealed": ("个人信息与摘要不符", "a personal value does not fit its hash"),
    "erased": ("个人信息被删除而无记录", "a personal value is gone without an entry"),
    "rounded": ("取整后的位置不是记录的那一个", "what stands for a rounded value is not what its entry names"),
}


class Report(msgspec.Struct):
    """What `verify` found. `notes` are losses that the ledger itself owns up to. `differ`: where a table is not what the ledger gives, a
    line each; None where that was not looked at."""

    entries: int
    head_seq: int
    head: str
    heads: int
    problems: list[Problem]
    notes: list[Problem]
    differ: list[str] | None = None
    erased: int = 0
    rounded: int = 0
    """Personal values that an entry took out, and those of them for which a rough one stands."""

    @property
    def ok(self) -> bool:
        return not self.problems and not self.differ

    def text(self) -> str:
        """A page for a person, Chinese first."""
        lines = [
            f"账本 {self.entries} 条，末条 {self.head_seq}，签名 {self.heads} 个 / ledger: {self.entries} entries, head {self.head_seq}"
        ]
        lines.append(f"末条摘要 / head hash: {self.head}")
        if self.erased:
            gone, rough = self.erased - self.rounded, self.rounded
            lines.append(
                f"个人信息已按记录抹去 {gone} 处、取整 {rough} 处 / personal values: {gone} erased, {rough} rounded, each with its entry"
            )
        for sign, found in (("✗", self.problems), ("!", self.notes)):
            for problem in found[:PROBLEMS_SHOWN_MAX]:
                zh, en = _SAYS[problem.what]
                lines.append(f"{sign} {problem.seq}: {zh} / {en}" + (f" ({problem.detail})" if problem.detail else ""))
            if len(found) > PROBLEMS_SHOWN_MAX:
                lines.append(f"{sign} … {len(found) - PROBLEMS_SHOWN_MAX}")
        for line in (self.differ or ())[:PROBLEMS_SHOWN_MAX]:
            lines.append(f"✗ {line}")
        if self.differ and len(self.differ) > PROBLEMS_SHOWN_MAX:
            lines.append(f"✗ … {len(self.differ) - PROBLEMS_SHOWN_MAX}")
        n = len(self.problems)
        lines.append(f"账本：发现 {n} 处问题 / ledger: {n} problems" if n else "账本未发现改动 / nothing in the ledger was changed")
        if self.differ is None:
            if n:
                lines.append("账本有问题，单据未与它比对 / the documents were not compared with a ledger that has problems")
        elif self.differ:
            n = len(self.differ)
            lines.append(f"单据：{n} 处与账本不符 / documents: {n} differ from what the ledger gives")
        else:
            lines.append("单据与账本一致 / the documents are what the ledger gives")
        return "\n".join(lines)


async def verify(
    store: Store,
    keys: heads.Signer | None = None,
    differences: Callable[[], Awaitable[list[str]]] | None = None,
    cold: Cold | None = None,
) -> Report:
    """Check every entry.

    With `keys` also that nothing is missing at the end, against the heads signed beside them. With `differences`, which derives everything
    anew, also that what is live is what the ledger gives; a ledger that has problems gives nothing to compare. `cold`: where the bytes lie
    that are no longer in the database.
    """
    signed = heads.every(keys) if keys is not None else []
    hashes: dict[int, bytes] = {head.seq: b"" for head in signed}
    problems: list[Problem] = []
    erased: set[str] = set()
    rounded: dict[str, str] = {}
    owned: list[tuple[str, int, int]] = []
    entries, last, before = 0, 0, START
    first_epoch = ""
    epochs: list[tuple[int, str]] = []

    def seen(seq: int, digest: bytes) -> None:
        if seq in hashes:
            hashes[seq] = digest

    async with store.read() as tx:
        columns = ", ".join((*COLUMNS, "bytes", "hash"))
        while rows := await tx.all(f"SELECT {columns} FROM ledger WHERE seq > $1 ORDER BY seq LIMIT {PAGE_ROWS}", last):
            problems += check(rows, before, last, seen, (cold or Cold()).get)
            entries += len(rows)
            kept, last, before = last, rows[-1]["seq"], rows[-1]["hash"]
            before = before if isinstance(before, bytes) else b""
            for row in rows:
                if row["what"] == "epoch":
                    params = _params(row)
                    epochs.append((row["seq"], str(params.get("epoch"))))
                    lost = params.get("seen")
                    if isinstance(lost, dict):
                        owned.append((str(lost.get("epoch")), int(lost.get("seq", 0)), kept))
                elif row["what"] == "erasure":
                    params = _params(row)
                    taken = set(map(str, params.get("hashes", [])))
                    erased |= taken
                    rough = params.get("rounded")
                    for digest in taken:
                        # The last entry on a value counts: what was rounded may be erased later.
                        rounded.pop(digest, None)
                    if isinstance(rough, dict):
                        rounded.update({str(digest): str(new) for digest, new in rough.items()})
                kept = row["seq"]
        problems += await _check_sealed(tx, erased, rounded)
    first_epoch = epochs[0][1] if epochs else ""
    notes = []
    for head in signed:
        found = hashes[head.seq]
        if found.hex() == head.hash:
            continue
        # A new epoch names the last head of the life before it: what lies between is lost, and everybody knows. So is the life before that,
        # where the same backup was restored once more: its heads lie between what the backup kept and the head that was last seen.
        if any(head.seq <= seq and (epoch == head.epoch or head.seq > kept) for epoch, seq, kept in owned):
            notes.append(Problem(head.seq, "restored"))
        else:
            problems.append(Problem(head.seq, "cut", f"epoch {head.epoch or first_epoch}"))
    differ = await differences() if differences is not None and not problems else None
    return Report(entries, last, before.hex(), len(signed), problems, _fewest(notes), differ, len(erased), len(rounded))


def _params(row: Any) -> dict[str, Any]:
    try:
        value = json.loads(row["params"])
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


async def _check_sealed(tx: Tx, erased: set[str], rounded: dict[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    after = ""
    missing = set(rounded.values()) - erased
    # Every column: a backup that is looked through may be older than one of them.
    query = f"SELECT * FROM sealed WHERE hash > $1 ORDER BY hash LIMIT {PAGE_ROWS}"
    while rows := await tx.all(query, after):
        for row in rows:
            missing.discard(row["hash"])
            stands = row["rounded"] if "rounded" in row.keys() else None  # noqa: SIM118 - a row's values are what it iterates over
            if stands != rounded.get(row["hash"]):
                problems.append(Problem(row["erased"] or 0, "rounded", row["hash"][:16]))
            if row["value"] is None or row["salt"] is None:
                if row["hash"] not in erased:
                    problems.append(Problem(row["erased"] or 0, "erased", row["hash"][:16]))
            elif hashlib.sha256(row["salt"] + row["value"].encode()).hexdigest() != row["hash"]:
                problems.append(Problem(0, "sealed", row["hash"][:16]))
        after = rows[-1]["hash"]
    return problems + [Problem(0, "rounded", digest[:16]) for digest in sorted(missing)]


def _fewest(notes: list[Problem]) -> list[Problem]:
    """One note for each run of heads that a restore left behind: the newest."""
    return notes[-1:] if notes else []

"""Twenty mistakes that somebody could make in the merge or in what guards it, each put into a copy of the product: the histories must find
every one. A mutant is one place in one file; where that text is not there any more, the mutant has to be chosen anew."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHOLE_MAX = 120
"""Whole histories that a mutant may survive: fewer than a check runs."""
MERGES = 600
SECONDS_MAX = 240


@dataclass
class Mutant:
    """`by`: what must find it: `merge` alone, the phone's merge (`twin`), whole histories, or those with the app's phones (`app`)."""

    name: str
    by: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "of two values with one clock the last to come stands",
        "merge",
        "backend/sync/merge.py",
        "if old is None or (e, device) > (old[1], old[2]) or",
        "if old is None or e >= old[1] or",
    ),
    Mutant(
        "of two items with one id the later stands",
        "merge",
        "backend/sync/merge.py",
        "if old is None or (e, device) < (old[1], old[2]) or",
        "if old is None or (e, device) > (old[1], old[2]) or",
    ),
    Mutant(
        "a patch with a status brings no status",
        "merge",
        "backend/sync/merge.py",
        '    if "status" in patch:\n        body["status"] = patch["status"]',
        "",
    ),
    Mutant(
        "an item says itself who put it there",
        "merge",
        "backend/sync/merge.py",
        'return {**item, "by": {"sealed": author.sealed} if isinstance(author, Sealed) else author, "at": at}',
        'return {"by": {"sealed": author.sealed} if isinstance(author, Sealed) else author, "at": at, **item}',
    ),
    Mutant(
        "a clock far ahead is believed",
        "merge",
        "backend/sync/hlc.py",
        "max(from_ms(now_ms) if suspect else claimed, previous + 1)",
        "max(claimed, previous + 1)",
    ),
    Mutant(
        "a clock may stand still",
        "merge",
        "backend/sync/hlc.py",
        "max(from_ms(now_ms) if suspect else claimed, previous + 1)",
        "max(from_ms(now_ms) if suspect else claimed, previous)",
    ),
    Mutant(
        "on the phone the device decides nothing between equal clocks",
        "twin",
        "pwa/src/sync/merge.ts",
        "return e - old[1] || device - old[2];",
        "return e - old[1];",
    ),
    Mutant(
        "on the phone an act's word yields to a later clock",
        "twin",
        "pwa/src/sync/merge.ts",
        "changed[name] = body.fields[name] = [value, e, device];\n  return changed;",
        "if (e > (body.fields[name]?.[1] ?? 0)) changed[name] = body.fields[name] = [value, e, device];\n  return changed;",
    ),
    Mutant(
        "the phone forgets the items of a patch",
        "app",
        "pwa/src/sync/merge.ts",
        "for (const [set, put] of Object.entries(patch.add ?? {})) Object.assign(open(body.sets, set), put);",
        "",
    ),
    Mutant(
        "a phone's queue is taken up wherever it begins",
        "whole",
        "backend/sync/push.py",
        "        if one.n <= have and held.get(one.n) != one.id and not (held.get(one.n) is None and one.id in known):",
        "        if one.n < 0:",
    ),
    Mutant(
        "any token proves any time",
        "whole",
        "backend/sync/push.py",
        "            if since <= op.at < until:",
        "            if since < until:",
    ),
    Mutant(
        "who was revoked is still believed",
        "whole",
        "backend/sync/push.py",
        'return "author.unproven" if self._revocations.person(person) else ""',
        'return ""',
    ),
    Mutant(
        "what nobody proved is judged at once",
        "whole",
        "backend/sync/taking.py",
        "        if said.unproven and not stop:\n            why",
        "        if said.unproven and stop:\n            why",
    ),
    Mutant(
        "one's own stop, said on another phone, counts as known",
        "whole",
        "backend/sync/taking.py",
        "            if seq <= base:\n                continue",
        "            if seq <= base or who == author:\n                continue",
    ),
    Mutant(
        "a base past the ledger's end knows of every stop",
        "whole",
        "backend/sync/taking.py",
        "base = op.base if op.base <= self.batch.seq else 0",
        "base = op.base",
    ),
    Mutant(
        "nothing is judged again when what it waited for comes",
        "whole",
        "backend/sync/taking.py",
        "            awaited = self._freed.popleft()\n            if self.batch.any_parked:",
        "            awaited = self._freed.popleft()\n            if not self.batch.any_parked:",
    ),
    Mutant(
        "a start goes on over a stop it had not seen",
        "whole",
        "backend/flow/machine.py",
        "    if spec.starts and env.unseen_stops:",
        "    if spec.starts and not env.op_id:",
    ),
    Mutant(
        "nobody is asked whether they may",
        "whole",
        "backend/flow/machine.py",
        "    if env.actor.server:\n        return\n    if spec.who is None",
        "    if env.actor.id:\n        return\n    if spec.who is None",
    ),
    Mutant(
        "what ended can go on",
        "whole",
        "backend/flow/machine.py",
        "    if state is None or state.end:",
        "    if state is None:",
    ),
    Mutant(
        "a personal value is opened to whoever reads the document",
        "whole",
        "backend/sync/shapes.py",
        "entry[0] = self._values.get(digest) if name in opens else None",
        "entry[0] = self._values.get(digest)",
    ),
]


class Lost(Exception):
    """The text that a mutant changes is not there, or twice."""


def overlay(folder: Path) -> None:
    """A copy of all that the histories run, with what is only read as links."""
    ignore = shutil.ignore_patterns("__pycache__", "node_modules", "dist")
    shutil.copytree(ROOT / "backend", folder / "backend", ignore=ignore)
    shutil.copytree(ROOT / "tests" / "sim", folder / "tests" / "sim", ignore=ignore)
    for part in ("src", "tests"):
        shutil.copytree(ROOT / "pwa" / part, folder / "pwa" / part, ignore=ignore)
    shutil.copyfile(ROOT / "tests" / "conftest.py", folder / "tests" / "conftest.py")
    for path in ("migrations", "media", "pwa/node_modules", "pwa/package.json", "pwa/tsconfig.json"):
        (folder / path).symlink_to(ROOT / path)


def mutate(folder: Path, mutant: Mutant) -> None:
    path = folder / mutant.file
    text = (ROOT / mutant.file).read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise Lost(f"{mutant.name}: its text stands {text.count(mutant.old)} times in {mutant.file}")
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")


def mend(folder: Path, mutant: Mutant) -> None:
    shutil.copyfile(ROOT / mutant.file, folder / mutant.file)


def hunt(folder: Path, by: str) -> tuple[bool, str]:
    """Whether the histories of this sort find something wrong in the copy, and what they say."""
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(folder / "tests/sim/sim_hunt.py"), by],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        env=env,
        cwd=folder,
    )
    if done.returncode not in (0, 3):
        return False, f"the hunt itself failed: {done.stderr[-2000:]}"
    return done.returncode == 3, done.stdout.strip()

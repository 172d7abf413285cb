"""A backup before the schema changes.

Migrations only add, so the program of before works on the schema of after: the way back is to start it again. The backup is for the case
that a migration itself was wrong.
"""

from pathlib import Path

import structlog

from backend.kernel.clock import Clock, wall_clock
from backend.operate import NotDone, backup
from backend.operate.version import program
from backend.settings import Settings
from backend.store import FAILURES, DatabaseError, Store
from backend.store.migrate import FOLDER

KEPT = 3

log = structlog.get_logger("anlu.upgrade")


async def before(settings: Settings, store: Store, *, folder: Path = FOLDER, clock: Clock = wall_clock) -> Path | None:
    """Back the database and the keys up where migrations are about to run on a plant that has data; where it lies, None where none was
    needed. Where it cannot be made (no room, no pg_dump), nothing is migrated: raises NotDone."""
    waiting = await _waiting(store, folder)
    if not waiting:
        return None
    into = settings.data_path / "backups" / "upgrade"
    try:
        made = await backup.make(settings, into, program=program(), keep=KEPT, with_media=False, wait=True, clock=clock)
    except NotDone as not_done:
        if settings.upgrade_without_backup:
            log.warning("upgrading_without_backup", why=not_done.text.en)
            return None
        raise NotDone(
            f"升级数据库结构（{'、'.join(waiting)}）之前要先备份，没有成功：{not_done.text.zh}"
            "处理后再启动；若已另行备份，可设 ANLU_UPGRADE_WITHOUT_BACKUP=true。",
            f"Before the schema is upgraded ({', '.join(waiting)}) it is backed up, and that failed: {not_done.text.en}"
            " Mend that and start again; if you have a backup of your own, set ANLU_UPGRADE_WITHOUT_BACKUP=true.",
        ) from not_done
    log.info("backed_up_before_upgrade", folder=str(made.folder), migrations=waiting)
    return made.folder


async def _waiting(store: Store, folder: Path) -> list[str]:
    """Migrations that will run, where some ran before: a new plant has nothing to lose."""
    try:
        async with store.read() as tx:
            done = {row["name"] for row in await tx.all("SELECT name FROM migration")}
    except (DatabaseError, *FAILURES):
        return []
    return sorted({file.stem for file in folder.glob("[0-9][0-9][0-9][0-9]_*.py")} - done) if done else []

"""Before the schema changes there is a backup, and the program of before works on the schema of after."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from backend.app import build
from backend.operate import NotDone, restore, snapshot, upgrade
from backend.settings import Settings
from backend.store import open_store

MIGRATION = "async def up(tx):\n    await tx.run('CREATE TABLE later (id BIGINT PRIMARY KEY)')\n"


async def before(settings: Settings, folder: Path) -> Path | None:
    store = open_store(settings.database_url)
    try:
        return await upgrade.before(settings, store, folder=folder)
    finally:
        await store.close()


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """The migrations of a version that adds one."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for file in upgrade.FOLDER.glob("[0-9]*.py"):
        (folder / file.name).write_text(file.read_text())
    (folder / "9000_later.py").write_text(MIGRATION)
    return folder


async def test_a_plant_with_data_is_backed_up_before_its_schema_changes_and_only_then(
    resting: Settings, tmp_path: Path, next_version: Path
):
    assert await before(resting, upgrade.FOLDER) is None
    made = await before(resting, next_version)
    assert made is not None
    assert "9000_later" not in snapshot.read(made).migrations
    assert (made / "keys").is_dir()
    restored = await restore.bring_back(resting, made.parent, replace=True)
    assert restored.report.ok


async def test_a_new_plant_has_nothing_to_back_up(tmp_path: Path, next_version: Path):
    assert await before(Settings(data=str(tmp_path / "new")), next_version) is None


async def test_where_no_backup_can_be_made_nothing_is_migrated_unless_the_operator_has_one(resting: Settings, next_version: Path):
    (resting.data_path / "backups").mkdir()
    (resting.data_path / "backups/upgrade").write_text("in the way")
    with pytest.raises(NotDone, match="ANLU_UPGRADE_WITHOUT_BACKUP"):
        await before(resting, next_version)
    assert await before(msgspec.structs.replace(resting, upgrade_without_backup=True), next_version) is None


async def test_the_program_of_before_starts_on_the_schema_of_after(resting: Settings):
    with closing(sqlite3.connect(resting.data_path / "anlu.db")) as db:
        db.execute("INSERT INTO migration VALUES ('9000_later', 1)")
        db.execute("CREATE TABLE later (id BIGINT PRIMARY KEY)")
        db.execute("ALTER TABLE device ADD COLUMN later TEXT")
        db.commit()
    app = build(resting)
    async with app.lifespan():
        assert app.state["sync"].epoch

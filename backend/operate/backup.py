"""`anlu backup`: the plant copied away while it works.

The database is read in one snapshot. Photos never change, so each is brought once and kept for all snapshots of the folder. The order is
what makes it whole: the ledger's signed heads before the database, so that none of them is ahead of it; photos and revocations after it,
so that everything that the database knows is here too.
"""

import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from backend.audit import cold, heads
from backend.kernel.clock import Clock, wall_clock
from backend.kernel.errors import Text
from backend.operate import NotDone, database, last, snapshot
from backend.operate.snapshot import Manifest, Photo, Photos
from backend.settings import Settings
from media.intake import STAGING
from media.store import EVIDENCE

NOT_KEPT = frozenset({"boot.json", "setup.json"})
"""Beside the keys, but of this life only: without its boot id a restored database is known for one, and a set-up code is for today."""
PROGRESS_EVERY = 1_000

Tell = Callable[[Text], None]


class Made(msgspec.Struct):
    """What a backup did. `removed`: snapshots that `--keep` took away."""

    folder: Path
    manifest: Manifest
    new_photos: int
    broken: list[str]
    removed: list[str]

    @property
    def whole(self) -> bool:
        """Whether everything that the database knows is in it."""
        return not self.broken and not self.manifest.media.missing


async def make(
    settings: Settings,
    folder: Path,
    *,
    program: str,
    keep: int | None = None,
    keys_to: Path | None = None,
    with_media: bool = True,
    wait: bool = False,
    tell: Tell = lambda _: None,
    clock: Clock = wall_clock,
) -> Made:
    """Make one snapshot in the folder. `keys_to`: another folder for the keys; `wait` for another backup that
    writes there. Raises NotDone."""
    source = database.of(settings.database_url)
    if not await source.exists():
        raise NotDone(f"这里没有数据可备份：{settings.data_path}", f"There is nothing to back up here: {settings.data_path}")
    try:
        snapshot.private(folder)
        with (folder / ".lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NotDone(f"另一个备份正在写入 {folder}。", f"Another backup is writing to {folder}.") from None
            return await _make(settings, folder, source, program, keep, keys_to, with_media, tell, clock)
    except OSError as error:
        raise NotDone(f"无法写入 {folder}：{error}", f"{folder} cannot be written: {error}") from error


async def _make(
    settings: Settings,
    folder: Path,
    source: database.Database,
    program: str,
    keep: int | None,
    keys_to: Path | None,
    with_media: bool,
    tell: Tell,
    clock: Clock,
) -> Made:
    for left in folder.glob("*" + snapshot.UNDER_WAY):
        snapshot.remove(left)
    made_at = clock()
    name = snapshot.name_of(made_at)
    if (folder / name).exists():
        raise NotDone(f"这一秒已有备份 {name}，请再试一次。", f"There is a backup {name} of this second: try again.")
    under_way = snapshot.private(folder / (name + snapshot.UNDER_WAY))
    keys = snapshot.private(under_way / snapshot.KEYS if keys_to is None else keys_to / name)
    _take(settings.keys_path, keys, lambda path: path.name == heads.NAME)
    taken = await source.dump(under_way)
    _take(settings.keys_path, keys, lambda path: path.name != heads.NAME)
    photos, new, broken = Photos(0, 0), 0, list[str]()
    if settings.s3:
        tell(
            Text(
                "照片在存储桶里，不在这个备份中：请用存储桶自己的版本保留和异地复制。",
                "Photos are in the bucket, not in this backup: let it keep versions and a copy.",
            )
        )
    elif with_media:
        photos, new, broken = _photos(settings.media_path, folder / snapshot.MEDIA, taken.photos, made_at, tell)
    # After the database: what is no longer in it is in a file by then.
    old = cold.files(settings.cold_path)
    for path in old:
        if not (folder / snapshot.COLD / path.name).exists():
            snapshot.link_or_copy(path, snapshot.private(folder / snapshot.COLD) / path.name)
    manifest = Manifest(
        format=snapshot.FORMAT,
        made_at=made_at,
        program=program,
        dialect=taken.dialect,
        migrations=taken.migrations,
        database=snapshot.stored(under_way / snapshot.DATABASE[taken.dialect], under_way),
        head=taken.head,
        keys=[snapshot.stored(path, keys) for path in sorted(keys.rglob("*")) if path.is_file()],
        media=photos,
        cold=[snapshot.stored(folder / snapshot.COLD / path.name, folder / snapshot.COLD) for path in old],
    )
    snapshot.write(under_way / snapshot.MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    done = folder / name
    under_way.rename(done)
    snapshot.sync(folder)
    removed = _thin(folder, keep, keys_to) if keep else []
    made = Made(done, manifest, new, broken, removed)
    if made.whole and with_media:
        last.note(settings.data_path, last.Noted(made_at, str(done)))
    return made


def _take(source: Path, target: Path, wanted: Callable[[Path], bool]) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.name not in NOT_KEPT and path.suffix != ".new" and wanted(path):
            snapshot.private((target / path.relative_to(source)).parent)
            snapshot.copy(path, target / path.relative_to(source))


def _photos(live: Path, pool: Path, known: set[str], made_at: int, tell: Tell) -> tuple[Photos, int, list[str]]:
    """Bring what the pool lacks; what is there, how many came, and which names do not fit their bytes."""
    held = snapshot.photos(pool)
    snapshot.private(pool)
    new, broken, lines = 0, [], []
    evidence = set()
    with (pool / snapshot.MEDIA_LIST).open("ab") as list_file:

        def note(*photos: Photo) -> None:
            list_file.write(b"".join(msgspec.json.encode(photo) + b"\n" for photo in photos))
            list_file.flush()

        if list_file.tell():
            # A line that a crash cut short ends here.
            list_file.write(b"\n")
        for path in _files(live):
            name = path.relative_to(live).as_posix()
            sha256, _, part = path.name.partition(".")
            if part == EVIDENCE:
                evidence.add(sha256)
            if name in held and held[name].until is None and (pool / name).exists():
                continue
            try:
                found = snapshot.link_or_copy(path, pool / name)
            except FileNotFoundError:
                continue  # taken away while we read
            if part == EVIDENCE and found != sha256:
                broken.append(name)
                (pool / name).unlink()
                continue
            held[name] = Photo(name, (pool / name).stat().st_size, found, made_at)
            note(held[name])
            new += 1
            if new % PROGRESS_EVERY == 0:
                tell(Text(f"已复制 {new} 个照片文件……", f"{new} files of photos copied …"))
        for photo in held.values():
            # The database decides what is gone, never the disk: a folder that was not mounted is no reason to forget photos.
            if photo.until is None and Path(photo.path).name.partition(".")[0] not in known and not (live / photo.path).exists():
                photo.until = made_at
                lines.append(photo)
        note(*lines)
    now_here = [photo for photo in held.values() if photo.of(made_at)]
    kept = {Path(photo.path).name.partition(".")[0] for photo in now_here if photo.path.endswith("." + EVIDENCE)}
    return Photos(len(now_here), sum(photo.bytes for photo in now_here), len(known - kept)), new, broken


def _files(live: Path) -> Iterator[Path]:
    for path in sorted(live.iterdir()) if live.is_dir() else ():
        if path.is_dir() and path.name != STAGING:
            yield from (inner for inner in sorted(path.rglob("*")) if inner.is_file())


def _thin(folder: Path, keep: int, keys_to: Path | None) -> list[str]:
    """Keep the newest snapshots, and the photos that one of them has."""
    snapshots = snapshot.whole(folder)
    removed = [old.name for old in snapshots[:-keep]]
    for old in snapshots[:-keep]:
        snapshot.remove(old)
        if keys_to is not None and (keys_to / old.name).is_dir():
            snapshot.remove(keys_to / old.name)
    if not removed:
        return []
    oldest = snapshot.read(snapshots[-keep]).made_at
    pool = folder / snapshot.MEDIA
    held = snapshot.photos(pool)
    kept = [photo for photo in held.values() if photo.until is None or photo.until > oldest]
    if len(kept) < len(held):
        snapshot.write(pool / snapshot.MEDIA_LIST, b"".join(msgspec.json.encode(photo) + b"\n" for photo in kept))
        for name in held.keys() - {photo.path for photo in kept}:
            (pool / name).unlink(missing_ok=True)
    return removed

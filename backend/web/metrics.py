"""`/metrics` for Prometheus: what is counted here, and what the database and the disk say at the moment they are asked.

Numbers and the words of our own protocol only: no person, no phone, no document, no address. Where several processes share the port
(`MANY` names the folder in which they count together), whichever is asked answers for all of them.
"""

import asyncio
import functools
import os
import shutil
from collections import Counter as Counted
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from backend.auth.permissions import OPERATOR
from backend.operate import keeper, last
from backend.settings import Settings
from backend.store import Store, Tx
from backend.sync.server import PushAnswer, Sync
from backend.sync.taking import Accepted

MANY = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own name; it is read when that is imported first."""
TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_ASKED = {
    "parked": "SELECT count(*) AS n FROM parked",
    "devices": "SELECT count(*) AS n FROM device WHERE retired_at IS NULL",
    "unsent": "SELECT coalesce(sum(unsent), 0) AS n FROM device WHERE retired_at IS NULL",
    "oldest": "SELECT min(oldest_at) AS n FROM device WHERE retired_at IS NULL AND unsent > 0",
    "uploads": "SELECT count(*) AS n FROM upload WHERE state = 'open'",
    "stored": "SELECT count(*) AS n FROM media WHERE state = 'stored'",
    "refused": "SELECT count(*) AS n FROM media WHERE state = 'refused'",
}


class Metrics:
    """Everything that is counted in this process. One an app."""

    def __init__(self, settings: Settings, version: str) -> None:
        self._settings = settings
        held = self.registry = CollectorRegistry()
        self._counted_in = os.environ.get(MANY)
        if self._counted_in is None:
            ProcessCollector(registry=held)
        else:
            _bury(Path(self._counted_in))
        Gauge("anlu_build_info", "The program that runs.", ["version"], registry=held, multiprocess_mode="max").labels(version).set(1)
        self.seconds = Histogram(
            "anlu_http_answer_seconds",
            "Seconds from a request's arrival to the first byte of its answer.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=held,
        )
        self.ops = Counter("anlu_ops_accepted", "Ops accepted into the ledger since the start.", ["verb"], registry=held)
        self.verdicts = Counter("anlu_verdicts", "Verdicts told to phones, those on ops sent again included.", ["state"], registry=held)
        # What is looked up when somebody asks: the last one to be asked says it for all.
        looked = functools.partial(Gauge, registry=held, multiprocess_mode="mostrecent")
        self.pushing = Gauge("anlu_pushes_under_way", "Bundles that wait for their commit now.", registry=held, multiprocess_mode="livesum")
        self.listening = Gauge("anlu_event_connections", "Open event streams.", registry=held, multiprocess_mode="livesum")
        self.head = looked("anlu_ledger_head_seq", "Sequence of the ledger's last entry.")
        self.head_at = looked("anlu_ledger_head_time_seconds", "When the last entry was written, Unix time.")
        self.parked = looked("anlu_ops_parked", "Ops that wait for a document, a kind or a person.")
        self.devices = looked("anlu_devices", "Phones that are not retired.")
        self.unsent = looked("anlu_devices_unsent_ops", "Ops that phones last said they still hold.")
        self.oldest = looked("anlu_devices_oldest_unsent_time_seconds", "Oldest of these, Unix time; 0: none.")
        self.uploads = looked("anlu_uploads_open", "Photos on their way.")
        self.photos = looked("anlu_photos", "Photos by what became of them.", ["state"])
        self.photos_stopped = looked("anlu_photos_stopped", "1 while the disk has no room for photos.")
        self.free = looked("anlu_disk_free_bytes", "Free bytes on the disk of a folder.", ["folder"])
        self.size = looked("anlu_disk_bytes", "Size of the disk of a folder.", ["folder"])
        self.database = looked("anlu_database_bytes", "Size of the database.")
        self.wal = looked("anlu_database_wal_bytes", "Size of SQLite's write-ahead log; 0 on PostgreSQL.")
        self.kept_at = looked("anlu_keeper_time_seconds", "When what is old was last taken away, Unix time; 0: never.")
        self.backup_at = looked("anlu_backup_time_seconds", "When the last whole backup was made, Unix time; 0: never.")

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is the template: no address is ever counted."""
        self.seconds.labels(method if method in METHODS else "other", route, str(status)).observe(seconds)

    async def on_accepted(self, tx: Tx, accepted: Sequence[Accepted]) -> None:
        """Sync's hook."""
        verbs = Counted(entry.op.verb for entry in accepted)

        def count() -> None:
            for verb, times in verbs.items():
                self.ops.labels(verb).inc(times)

        tx.after(count)

    async def text(self, store: Store, has_room: bool) -> bytes:
        """Everything, in Prometheus' text format."""
        async with store.read() as tx:
            kept = await keeper.last(tx)
            head = await tx.one("SELECT seq, at FROM ledger ORDER BY seq DESC LIMIT 1")
            found = {name: row["n"] or 0 for name, sql in _ASKED.items() if (row := await tx.one(sql)) is not None}
            if tx.dialect == "postgres":
                row = await tx.one("SELECT pg_database_size(current_database()) AS n")
                self.database.set(row["n"] if row is not None else 0)
        self.head.set(head["seq"] if head is not None else 0)
        self.head_at.set(head["at"] / 1000 if head is not None else 0)
        self.kept_at.set(kept.at / 1000 if kept is not None else 0)
        self.parked.set(found["parked"])
        self.devices.set(found["devices"])
        self.unsent.set(found["unsent"])
        self.oldest.set(found["oldest"] / 1000)
        self.uploads.set(found["uploads"])
        self.photos.labels("stored").set(found["stored"])
        self.photos.labels("refused").set(found["refused"])
        self.photos_stopped.set(0 if has_room else 1)
        return await asyncio.to_thread(self._rest)

    def _rest(self) -> bytes:
        settings = self._settings
        for name, folder in (("data", settings.data_path), ("media", settings.media_path)):
            if folder.exists():
                disk = shutil.disk_usage(folder)
                self.free.labels(name).set(disk.free)
                self.size.labels(name).set(disk.total)
        file = settings.database_file
        if file is not None:
            self.database.set(_bytes(file))
            self.wal.set(_bytes(file.with_name(file.name + "-wal")))
        noted = last.read(settings.data_path)
        self.backup_at.set(noted.made_at / 1000 if noted is not None else 0)
        if self._counted_in is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, self._counted_in)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class CountedSync(Sync):
    """Sync, with what it answers counted."""

    metrics: Metrics

    async def push(self, body: bytes, signature: str, *, jose: bool = False) -> PushAnswer:
        with self.metrics.pushing.track_inprogress():
            answer = await super().push(body, signature, jose=jose)
        for verdict in answer.verdicts:
            self.metrics.verdicts.labels(verdict.state).inc()
        return answer


@get("/metrics", who=OPERATOR, include_in_schema=True, media_type=TYPE)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Prometheus' metrics: asked from this machine, or with the token of the settings."""
    state = request.app.state
    content = await state["metrics"].text(state["store"], await state["media"].has_room())
    return Response(content, media_type=TYPE, headers={"cache-control": "no-store"})


def _bury(folder: Path) -> None:
    """What processes that ended had open is not open any more."""
    for file in folder.glob("gauge_live*_*.db"):
        number = file.stem.rpartition("_")[2]
        if number.isdecimal() and not Path("/proc", number).exists():
            mark_process_dead(int(number), str(folder))  # type: ignore[no-untyped-call]


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0

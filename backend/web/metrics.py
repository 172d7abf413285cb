"""`/metrics` for Prometheus: what is counted here, and what the database and the disk say at the moment they are asked.

Numbers and the words of our own protocol only: no person, no phone, no document, no address. With several workers each counts for itself;
what is read from the database is the same from all.
"""

import asyncio
import shutil
from collections import Counter as Counted
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from backend.auth.permissions import OPERATOR
from backend.operate import keeper, last
from backend.settings import Settings
from backend.store import Store, Tx
from backend.sync.server import PushAnswer, Sync
from backend.sync.taking import Accepted

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
        ProcessCollector(registry=held)
        Gauge("anlu_build_info", "The program that runs.", ["version"], registry=held).labels(version).set(1)
        self.seconds = Histogram(
            "anlu_http_answer_seconds",
            "Seconds from a request's arrival to the first byte of its answer.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=held,
        )
        self.ops = Counter("anlu_ops_accepted", "Ops that this process accepted into the ledger.", ["verb"], registry=held)
        self.verdicts = Counter("anlu_verdicts", "Verdicts told to phones, those on ops sent again included.", ["state"], registry=held)
        self.pushing = Gauge("anlu_pushes_under_way", "Bundles that wait for their commit now.", registry=held)
        self.listening = Gauge("anlu_event_connections", "Open event streams.", registry=held)
        self.head = Gauge("anlu_ledger_head_seq", "Sequence of the ledger's last entry.", registry=held)
        self.head_at = Gauge("anlu_ledger_head_time_seconds", "When the last entry was written, Unix time.", registry=held)
        self.parked = Gauge("anlu_ops_parked", "Ops that wait for a document, a kind or a person.", registry=held)
        self.devices = Gauge("anlu_devices", "Phones that are not retired.", registry=held)
        self.unsent = Gauge("anlu_devices_unsent_ops", "Ops that phones last said they still hold.", registry=held)
        self.oldest = Gauge("anlu_devices_oldest_unsent_time_seconds", "Oldest of these, Unix time; 0: none.", registry=held)
        self.uploads = Gauge("anlu_uploads_open", "Photos on their way.", registry=held)
        self.photos = Gauge("anlu_photos", "Photos by what became of them.", ["state"], registry=held)
        self.photos_stopped = Gauge("anlu_photos_stopped", "1 while the disk has no room for photos.", registry=held)
        self.free = Gauge("anlu_disk_free_bytes", "Free bytes on the disk of a folder.", ["folder"], registry=held)
        self.size = Gauge("anlu_disk_bytes", "Size of the disk of a folder.", ["folder"], registry=held)
        self.database = Gauge("anlu_database_bytes", "Size of the database.", registry=held)
        self.wal = Gauge("anlu_database_wal_bytes", "Size of SQLite's write-ahead log; 0 on PostgreSQL.", registry=held)
        self.kept_at = Gauge("anlu_keeper_time_seconds", "When what is old was last taken away, Unix time; 0: never.", registry=held)
        self.backup_at = Gauge("anlu_backup_time_seconds", "When the last whole backup was made, Unix time; 0: never.", registry=held)

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

    async def text(self, store: Store, sync: Sync, has_room: bool) -> bytes:
        """Everything, in Prometheus' text format."""
        async with store.read() as tx:
            kept = await keeper.last(tx)
            head = await tx.one("SELECT seq, at FROM ledger ORDER BY seq DESC LIMIT 1")
            found = {name: row["n"] or 0 for name, sql in _ASKED.items() if (row := await tx.one(sql)) is not None}
            if tx.dialect == "postgres":
                row = await tx.one("SELECT pg_database_size(current_database()) AS n")
                self.database.set(row["n"] if row is not None else 0)
        self.listening.set(len(sync.hub))
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
        return generate_latest(self.registry)


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
    content = await state["metrics"].text(state["store"], state["sync"], await state["media"].has_room())
    return Response(content, media_type=TYPE, headers={"cache-control": "no-store"})


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0

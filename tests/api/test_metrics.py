"""What Prometheus reads: the plant's numbers, for the operator alone, and nobody's name."""

import re

import httpx
import msgspec
import pytest

from backend.demo import PEOPLE, area_id
from backend.sync.op import Add, New
from tests.api.phone import Phone


def sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


@pytest.fixture
def afar(plant):
    """A browser on another machine."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=plant.app, client=("10.1.2.3", 4711)), base_url="http://127.0.0.1:8000")


async def test_metrics_count_ops_verdicts_requests_and_tell_the_ledgers_head(plant):
    phone = await plant.phone().sign_in("worker")
    version = plant.app.state["judge"].newest("hazard")
    key = "hazard/0190a0de-0000-7000-8000-00000000beef"
    verdicts = await phone.push(
        New(0, 0, 0, "", key, version, {"area": area_id("steelmaking"), "note": "x"}),
        Add(0, 0, 0, "", "hazard/0190a0de-0000-7000-8000-00000000dead", "comments", "0190a0de-0000-7000-8000-00000000c0de", {"text": "y"}),
    )
    assert [v["state"] for v in verdicts] == ["ok", "parked"]
    answer = await plant.browser().get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.text
    assert sample(text, 'anlu_verdicts_total{state="ok"}') == 1
    assert sample(text, 'anlu_verdicts_total{state="parked"}') == 1
    assert sample(text, 'anlu_ops_accepted_total{verb="new"}') >= 1
    assert sample(text, "anlu_ops_parked") == 1
    assert sample(text, 'anlu_http_answer_seconds_count{method="POST",route="/api/sync/push",status="200"}') == 1
    async with plant.app.state["store"].read() as tx:
        head = await tx.one("SELECT max(seq) AS seq FROM ledger")
    assert sample(text, "anlu_ledger_head_seq") == head["seq"]
    assert sample(text, 'anlu_disk_free_bytes{folder="data"}') > 0
    assert sample(text, "anlu_database_bytes") > 0
    assert sample(text, "anlu_backup_time_seconds") == 0


async def test_metrics_name_nobody_and_no_document(plant):
    phone = await plant.phone().sign_in("worker")
    await phone.get("/api/media/" + "0" * 64 + "/screen")
    await plant.browser().request("BREW", "/api/health")
    text = (await plant.browser().get("/metrics")).text
    for word in (phone.person, str(phone.number), *(p.username for p in PEOPLE), *(p.names.zh for p in PEOPLE), "0" * 64, "BREW"):
        assert not re.search(rf'"{re.escape(word)}"|{re.escape(word)}(?![\w"])' if word.isalpha() else re.escape(word), text), word


async def test_another_machine_and_whoever_comes_through_a_proxy_get_nothing_without_a_token(plant, afar):
    assert (await afar.get("/metrics")).status_code == 403
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert (await plant.browser().get("/metrics", headers={header: "10.1.2.3"})).status_code == 403
    await afar.aclose()


async def test_with_a_token_in_the_settings_it_is_the_token_that_counts(plant, afar):
    plant.app.state["settings"] = msgspec.structs.replace(plant.settings, metrics_token="0123456789abcdef")
    assert (await afar.get("/metrics", headers={"Authorization": "Bearer 0123456789abcdef"})).status_code == 200
    assert (await afar.get("/metrics", headers={"Authorization": "Bearer 0123456789abcdee"})).status_code == 403
    assert (await plant.browser().get("/metrics")).status_code == 403
    await afar.aclose()


async def test_a_disk_below_the_mark_stops_photos_and_goes_on_taking_ops_and_health_says_so(plant):
    media = plant.app.state["media"]
    phone: Phone = await plant.phone().sign_in("worker")
    begin = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": "sha256 " + "YWFh" * 21 + "YQ==,type aW1hZ2UvanBlZw=="}
    made = await phone.client.post("/api/media/uploads", headers=phone.headers | begin)
    media.free_bytes_min = 10**15
    refused = await phone.client.post("/api/media/uploads", headers=phone.headers | begin)
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "media.no_room", "600")
    if made.status_code == 201:
        patch = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        on_its_way = await phone.client.patch(made.headers["location"], content=b"12345", headers=phone.headers | patch)
        assert (on_its_way.status_code, on_its_way.json()["code"]) == (503, "media.no_room")
    version = plant.app.state["judge"].newest("hazard")
    op = New(0, 0, 0, "", "hazard/0190a0de-0000-7000-8000-00000000beef", version, {"area": area_id("steelmaking"), "note": "x"})
    assert [v["state"] for v in await phone.push(op)] == ["ok"]
    health = (await plant.browser().get("/api/health")).json()
    assert (health["ok"], health["media"]) == (True, "low")
    assert sample((await plant.browser().get("/metrics")).text, "anlu_photos_stopped") == 1

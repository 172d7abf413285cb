"""Every answer has the headers, and every error has the one shape, whatever route gave it."""

import re

import pytest
from litestar.routes import HTTPRoute

from backend.kernel.errors import catalogue
from backend.settings import Settings
from backend.web.headers import HEADERS

CSP = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types anlu vue"
)
PAGES = ["/", "/t/7K3M-9QPA", "/sw.js", "/assets/none.js", "/nothing.png", "/index.html"]


def routes(app) -> list[tuple[str, str]]:
    """Every method and address of the running app, addresses filled with something that is not there."""
    found = []
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            path = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:(str|uuid)\}", "0190a0de-0000-7000-8000-000000000001", route.path))
            found += [(method, path) for handler in route.route_handlers for method in sorted(handler.http_methods)]
    return found


def assert_headers(answer, *, https=False) -> None:
    headers = answer.headers
    assert headers["content-security-policy"] == CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=(self)" in headers["permissions-policy"]
    assert "geolocation=(self)" in headers["permissions-policy"]
    assert ("strict-transport-security" in headers) == https
    assert not {"server", "x-powered-by"} & set(headers)
    for name in HEADERS:
        assert len(headers.get_list(name)) == 1, name


async def test_every_route_answers_with_every_header_signed_in_or_not(plant):
    phone = await plant.phone().sign_in("admin")
    asked = [r for r in routes(plant.app) if r[1] != "/api/sync/events"]
    assert len(asked) > 25
    for method, path in [*asked, *(("GET", page) for page in PAGES)]:
        for headers in ({}, phone.headers):
            if headers and path == "/api/auth/sign-out":
                continue
            answer = await phone.client.request(method, path, headers=headers)
            assert_headers(answer)
            assert answer.status_code < 500, (method, path, answer.text)
            if path.startswith("/api/"):
                assert answer.headers["cache-control"], (method, path)


async def test_every_error_has_the_one_shape_and_a_code_of_the_catalogue(plant):
    phone = await plant.phone().sign_in("worker")
    seen = set()
    for method, path in routes(plant.app):
        for wrong in ("PROPFIND", "PATCH", method):
            for content in (None, b"{", b"[]", b"\xff\xfe", b"{}" + b" " * 70_000):
                if path in ("/api/sync/events", "/api/auth/sign-out"):
                    continue
                answer = await phone.client.request(
                    wrong, path, content=content, headers={**phone.headers, "Content-Type": "application/json"}
                )
                if answer.status_code < 400:
                    continue
                body = (
                    answer.json()
                    if answer.content
                    else {"code": answer.headers["anlu-code"], "message": {"zh": "x", "en": "x"}, "params": {}}
                )
                assert set(body) == {"code", "message", "params"}, (wrong, path, body)
                assert set(body["message"]) == {"zh", "en"}
                assert body["code"] in catalogue()
                assert answer.status_code == catalogue()[body["code"]].status, (wrong, path, body)
                assert answer.status_code < 500
                seen.add(body["code"])
    assert {"http.malformed", "http.method", "http.too_large", "auth.forbidden"} <= seen


async def test_an_address_that_is_none_is_404_and_a_method_that_is_none_is_405(plant):
    browser = plant.browser()
    for method, path, code in [
        ("GET", "/api/nothing", "http.not_found"),
        ("GET", "/api/", "http.not_found"),
        ("POST", "/api/health", "http.method"),
        ("DELETE", "/api/auth/sign-in", "http.method"),
        ("GET", "/api/auth/sign-in", "http.method"),
        ("GET", "/nothing.js", "http.not_found"),
    ]:
        answer = await browser.request(method, path)
        assert (answer.json()["code"], answer.status_code) == (code, catalogue()[code].status)


async def test_a_failure_of_ours_says_nothing_of_its_inside(plant, monkeypatch):
    async def broken(*_):
        raise RuntimeError("secret of the database")

    monkeypatch.setattr(plant.app.state["auth"].people, "standing", broken)
    answer = await plant.phone().try_sign_in("worker")
    assert (answer.status_code, answer.json()["code"]) == (500, "http.internal")
    assert "secret" not in answer.text
    assert_headers(answer)


async def test_health_tells_database_disk_version_and_epoch(plant):
    answer = await plant.browser().get("/api/health")
    found = answer.json()
    assert (found["ok"], found["database"], found["disk"]) == (True, "ok", "ok")
    assert found["epoch"] == plant.app.state["sync"].epoch
    assert found["version"]
    assert found["now"] > 0


async def test_health_says_when_the_database_cannot_be_read(plant):
    await plant.app.state["store"].close()
    answer = await plant.browser().get("/api/health")
    assert (answer.status_code, answer.json()["ok"], answer.json()["database"]) == (503, False, "failed")


async def test_health_says_when_the_disk_is_nearly_full(plant):
    plant.app.state["settings"] = Settings(data=plant.settings.data, disk_free_mb_min=10_000_000)
    answer = await plant.browser().get("/api/health")
    assert (answer.status_code, answer.json()["disk"]) == (200, "low")


class TestOnHttps:
    """What changes where phones come by https."""

    @pytest.fixture
    def origin(self):
        return "https://anlu.example.com"

    async def test_the_cookie_is_for_this_host_over_https_only_and_hsts_is_sent(self, plant):
        phone = plant.phone()
        answer = await phone.try_sign_in("worker")
        assert_headers(answer, https=True)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-anlu=")
        assert "secure" in cookie.lower()
        assert "domain" not in cookie.lower()
        assert (await phone.get("/api/auth/me")).status_code == 200

"""The API's description: for who manages the plant, whole, and from this server alone."""

import re

from litestar.routes import HTTPRoute


async def test_the_page_shows_every_operation_with_whom_it_serves_and_needs_no_script_and_no_other_host(plant):
    admin = await plant.phone().sign_in("admin")
    # As a browser opens a link: who and which phone stand in the address.
    answer = await admin.client.get("/api/schema", params={"person": admin.person, "device": admin.number})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    page = answer.text
    assert "<script" not in page
    assert "style=" not in page
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []
    shown = 0
    for route in plant.app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if handler.resolve_include_in_schema():
                    for method in handler.http_methods - {"OPTIONS"}:
                        assert f'id="{method.lower()}-{route.path_format}"' in page, (method, route.path)
                        assert handler.opt["who"] in page
                        shown += 1
    assert shown > 30
    for name in re.findall(r'href="#(schema-[^"]+)"', page):
        assert f'id="{name}"' in page
    style = await plant.browser().get("/api/reference.css")
    assert style.headers["content-type"].startswith("text/css")


async def test_it_is_for_administrators(plant):
    worker = await plant.phone().sign_in("worker")
    for path in ("/api/schema", "/api/schema/openapi.json"):
        assert (await worker.get(path)).status_code == 403
        assert (await plant.browser().get(path)).status_code == 401

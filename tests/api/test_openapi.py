"""The API against its own description: a hundred requests for each operation, made from the description by Schemathesis, as an administrator
who may everything. Whatever they say, the server never breaks, and what it refuses it refuses in the one shape."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from backend.kernel.errors import catalogue
from tests.e2e.client import Client
from tests.e2e.harness import Plant

EXAMPLES = 100
SECONDS_MAX = 30
TAKEN = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


class Told(msgspec.Struct):
    """A refusal on the wire."""

    code: str
    message: dict[str, str]
    params: dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    started = Plant(tmp_path_factory.mktemp("described")).start()
    yield started
    started.stop()


class Caller:
    """An administrator's session; begun again where a request has ended it."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.begin()

    def begin(self) -> None:
        signed = Client(self.origin).sign_in("admin")
        self.session = requests.Session()
        self.session.headers.update({"Anlu-Person": signed.person, "Anlu-Device": str(signed.device)})
        self.session.cookies.update(dict(signed.http.cookies))

    def alive(self) -> bool:
        return self.session.get(f"{self.origin}/api/auth/me").status_code == 200

    def answer(self, case: schemathesis.Case) -> tuple[int, bytes]:
        """Status and content; of a stream only its beginning."""
        given = case.as_transport_kwargs(base_url=self.origin)
        # Who asks stays the administrator, and speaks tus, whatever the description lets a header say.
        fixed = {name: str(self.session.headers[name]) for name in ("Anlu-Person", "Anlu-Device")} | {"Tus-Resumable": "1.0.0"}
        given["headers"] = {**given.get("headers", {}), **fixed}
        with self.session.request(**given, stream=True, timeout=SECONDS_MAX, allow_redirects=False) as got:
            endless = got.headers.get("Content-Type", "").startswith("text/event-stream")
            return got.status_code, b"" if endless else got.content


def asked(caller: Caller, operation: Any) -> tuple[int, str]:
    """How many requests were made of an operation, and what was wrong with the first that broke something."""
    count, wrong = 0, ""

    @TAKEN
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        nonlocal count, wrong
        count += 1
        status, content = caller.answer(case)
        right = status < 500 and str(status) in operation.definition.raw["responses"]
        if status >= 400 and content:
            right = right and catalogue()[msgspec.json.decode(content, type=Told).code].status == status
        if not right and not wrong:
            wrong = f"{status} {content[:300]!r} to {case.as_curl_command()[:600]}"

    ask()
    return count, wrong


@pytest.mark.timeout(900)
def test_a_hundred_requests_for_each_operation_never_break_the_server(server: Plant) -> None:
    caller = Caller(server.origin)
    described = caller.session.get(f"{server.origin}/api/schema/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described)
    broken: dict[str, str] = {}
    counted: dict[str, int] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        if not caller.alive():
            caller.begin()
        name = f"{operation.method.upper()} {operation.path}"
        counted[name], wrong = asked(caller, operation)
        if wrong:
            broken[name] = wrong
    assert broken == {}
    # An operation that takes nothing has one request; what takes something is asked in a hundred ways.
    assert len(counted) >= 40
    assert sum(counted.values()) >= 20 * EXAMPLES

"""A phone as the API sees it: a key, a number, a person, and a client that keeps the cookie."""

import base64
import time
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from backend.sync import hlc
from backend.sync.op import OPS_IN_BUNDLE_MAX, Op, encode, encode_bundle, op_id

PASSWORD = "anlu-demo"


class Phone:
    """One device; `client` is its browser."""

    def __init__(self, client: httpx.AsyncClient, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.client = client
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.number = 0
        self.person = ""
        self.signed_in: dict[str, Any] = {}
        self.said = 0
        self.last: str | None = None
        self.hlc = 0

    @property
    def spki(self) -> str:
        raw = self.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(raw).decode()

    def sign(self, message: bytes) -> str:
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()

    async def nonce(self) -> str:
        return str((await self.client.get("/api/auth/nonce")).json()["nonce"])

    async def proof(self, number: int | None = None) -> dict[str, Any]:
        """That this phone holds its key."""
        number, nonce = number or self.number, await self.nonce()
        return {"number": number, "nonce": nonce, "proof": self.sign(f"anlu-device:{number}:{nonce}".encode())}

    async def device(self) -> dict[str, Any]:
        return await self.proof() if self.number else {"label": "测试手机", "public_key": self.spki}

    async def try_sign_in(self, username: str, password: str = PASSWORD, device: dict[str, Any] | None = None) -> httpx.Response:
        body = {"username": username, "password": password, "device": await self.device() if device is None else device}
        answer = await self.client.post("/api/auth/sign-in", json=body)
        if answer.status_code == 200:
            self.took(answer.json())
        return answer

    async def sign_in(self, username: str, password: str = PASSWORD) -> "Phone":
        answer = await self.try_sign_in(username, password)
        assert answer.status_code == 200, answer.text
        return self

    def took(self, given: dict[str, Any]) -> None:
        self.signed_in, self.number, self.person = given, given["device"], given["person"]["id"]

    @property
    def headers(self) -> dict[str, str]:
        return {"Anlu-Person": self.person, "Anlu-Device": str(self.number)}

    async def get(self, path: str, **given: Any) -> httpx.Response:
        return await self.client.get(path, headers=self.headers, **given)

    async def post(self, path: str, body: Any = None, **given: Any) -> httpx.Response:
        return await self.client.post(path, json=body, headers=self.headers, **given)

    async def push(self, *ops: Op, sealed: dict[str, tuple[bytes, str]] | None = None) -> list[dict[str, Any]]:
        """Say these (device, hlc, at and, where empty, author are filled in here) and give their verdicts. `sealed`: hash → salt and text."""
        said = []
        for op in ops:
            self.hlc = hlc.make(self.hlc, time.time_ns() // 1_000_000)
            whole = msgspec.structs.replace(
                op, device=self.number, hlc=self.hlc, at=time.time_ns() // 1_000_000, author=op.author or self.person
            )
            said.append(encode(whole))
        verdicts = []
        for at in range(0, len(said), OPS_IN_BUNDLE_MAX):
            part = said[at : at + OPS_IN_BUNDLE_MAX]
            body = encode_bundle(
                part,
                device=self.number,
                certificate=self.signed_in["certificate"],
                first=self.said + 1,
                prev=self.last,
                authors={self.person: [self.signed_in["author_token"]]},
                sealed=sealed,
            )
            answer = await self.client.post("/api/sync/push", content=body, headers={"Anlu-Signature": self.sign(body)})
            assert answer.status_code == 200, answer.text
            self.said, self.last = self.said + len(part), op_id(part[-1])
            verdicts += answer.json()["verdicts"]
        return verdicts

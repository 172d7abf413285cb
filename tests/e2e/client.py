"""A phone without a screen, written from the protocol's page alone: signs in, says things, pushes and pulls over HTTP."""

import base64
import json
import os
import time
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from backend.kernel.ids import uuid7
from backend.sync import hlc, op


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def new_id() -> str:
    return uuid7(now_ms(), os.urandom(10))


class Client:
    """One device and the person signed in on it. `said` is its whole queue; `docs` what it has pulled: {key: (seq, body)}."""

    def __init__(self, origin: str) -> None:
        self.http = httpx.Client(base_url=origin, timeout=120)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.said: list[bytes] = []
        self.sent = 0
        self.last = 0
        self.cursor: str | None = None
        self.docs: dict[str, tuple[int, dict[str, Any]]] = {}
        self.verdicts: dict[str, dict[str, Any]] = {}

    def sign(self, message: bytes) -> str:
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()

    def sign_in(self, username: str, password: str = "anlu-demo") -> "Client":
        spki = self.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        device = {"label": "test", "public_key": base64.b64encode(spki).decode()}
        answer = self.http.post("/api/auth/sign-in", json={"username": username, "password": password, "device": device})
        answer.raise_for_status()
        given = answer.json()
        self.person, self.device = given["person"]["id"], given["device"]
        self.certificate, self.token = given["certificate"], given["author_token"]
        self.last = given["now"]
        self.http.headers.update({"Anlu-Person": self.person, "Anlu-Device": str(self.device)})
        return self

    def _head(self, doc: str) -> tuple[int, int, int, str, str]:
        self.last = hlc.make(self.last, now_ms())
        return self.device, self.last, now_ms(), self.person, doc

    def new(self, kind: str, version: int, fields: dict[str, Any]) -> str:
        key = f"{kind}/{new_id()}"
        self.said.append(op.encode(op.New(*self._head(key), version, fields)))
        return key

    def set(self, key: str, fields: dict[str, Any]) -> None:
        self.said.append(op.encode(op.Set(*self._head(key), fields)))

    def add(self, key: str, name: str, item: dict[str, Any]) -> None:
        self.said.append(op.encode(op.Add(*self._head(key), name, new_id(), item)))

    def act(self, key: str, transition: str, given: dict[str, Any]) -> None:
        base = self.docs[key][0] if key in self.docs else 0
        self.said.append(op.encode(op.Act(*self._head(key), transition, given, base)))

    def bundles(self, ops_max: int = op.OPS_IN_BUNDLE_MAX) -> list[tuple[bytes, str]]:
        """What waits, cut and signed: bytes and their signature."""
        made = []
        at = self.sent
        while at < len(self.said):
            part, size = [], 4_000
            while at + len(part) < len(self.said) and len(part) < ops_max:
                size += len(self.said[at + len(part)]) + 1
                if size > op.BUNDLE_BYTES_MAX:
                    break
                part.append(self.said[at + len(part)])
            data = op.encode_bundle(
                part,
                device=self.device,
                certificate=self.certificate,
                first=at + 1,
                prev=op.op_id(self.said[at - 1]) if at else None,
                authors={self.person: [self.token]},
            )
            made.append((data, self.sign(data)))
            at += len(part)
        return made

    def push(self) -> list[dict[str, Any]]:
        """Send what waits; the verdicts, in order."""
        found = []
        for data, signature in self.bundles():
            found += self.send(data, signature)
        return found

    def send(self, data: bytes, signature: str) -> list[dict[str, Any]]:
        answer = self.http.post("/api/sync/push", content=data, headers={"Anlu-Signature": signature, "Content-Type": "application/json"})
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code} {answer.text}")
        given = answer.json()
        self.sent = given["have"]
        for verdict in given["verdicts"]:
            self.verdicts[verdict["op"]] = verdict
        return list(given["verdicts"])

    def pull(self) -> int:
        """Fetch until nothing is left; the number of lines."""
        lines = 0
        more = True
        while more:
            with self.http.stream("POST", "/api/sync/pull", json={"cursor": self.cursor, "want": []}) as answer:
                answer.raise_for_status()
                for line in answer.iter_lines():
                    if line:
                        lines += 1
                        more = self._take(json.loads(line), more)
        return lines

    def _take(self, said: dict[str, Any], more: bool) -> bool:
        match said:
            case {"doc": key, "seq": seq, "body": body}:
                self.docs[key] = (seq, body)
            case {"patch": key, "seq": seq} if key in self.docs:
                body = self.docs[key][1]
                body["fields"] |= said.get("set", {})
                for name, items in said.get("add", {}).items():
                    body["sets"].setdefault(name, {}).update(items)
                body["status"] = said.get("status", body["status"])
                self.docs[key] = (seq, body)
            case {"gone": key}:
                self.docs.pop(key, None)
            case {"verdict": verdict}:
                self.verdicts[verdict["op"]] = verdict
            case {"reset": True}:
                self.docs.clear()
            case {"cursor": cursor, "more": left}:
                self.cursor = cursor
                return bool(left)
        return more

    def of_kind(self, kind: str) -> dict[str, dict[str, Any]]:
        """Pulled documents of a kind as plain values: {id: {"status", field: value, …}}."""
        return {
            key.partition("/")[2]: {"status": body["status"]} | {name: entry[0] for name, entry in body["fields"].items()}
            for key, (_, body) in self.docs.items()
            if key.startswith(f"{kind}/")
        }

    def form(self) -> bytes:
        """All documents, in one order: for comparing phones."""
        return msgspec.json.encode({key: json.loads(op.canonical(body)) for key, (_, body) in sorted(self.docs.items())})

"""A client of Anlu in one file, written from docs/sync.md: signs in, registers itself, reports a hazard, pulls, and shows the verdict.

    python client.py https://anlu.example name password "what is wrong"

Needs httpx and cryptography, nothing of the server's. A real client keeps all of `Client` on disk.
"""

import base64
import hashlib
import json
import os
import random
import sys
import time
import uuid
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

EPOCH_MS = 1_704_067_200_000
OPS_IN_BUNDLE_MAX = 500
TRIES_MAX = 8


def uuid7() -> str:
    value = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (7 << 76)
    return str(uuid.UUID(int=value & ~(0x3 << 62) | (2 << 62)))


class Client:
    """One device and who is signed in on it. `queue` are the ops as bytes; `docs` what was pulled: {key: (seq, body)}."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=60)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.queue: list[bytes] = []
        self.have = self.last = self.offset = self.at = 0
        self.cursor: str | None = None
        self.want: list[str] = []
        self.docs: dict[str, tuple[int, dict[str, Any]]] = {}
        self.verdicts: dict[str, dict[str, Any]] = {}

    def sign(self, message: bytes) -> str:
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(SHA256())))
        return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()

    def sign_in(self, username: str, password: str) -> None:
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        device = {"label": "example", "public_key": base64.b64encode(spki).decode()}
        given = self.ask("/api/auth/sign-in", json={"username": username, "password": password, "device": device}).json()
        self.person, self.device = given["person"]["id"], given["device"]
        self.certificate, self.token = given["certificate"], given["author_token"]
        self.http.headers.update({"Anlu-Person": self.person, "Anlu-Device": str(self.device)})
        self.hear(given["now"])

    def hear(self, now: int) -> None:
        """The server's clock."""
        self.offset = now // 4096 + EPOCH_MS - int(time.time() * 1000)
        self.last = now if self.last > now + 300_000 * 4096 else max(self.last, now)

    def ask(self, path: str, **given: Any) -> httpx.Response:
        """Send until there is an answer that is neither "later" nor silence."""
        for tries in range(TRIES_MAX):
            try:
                answer = self.http.post(path, **given)
                if answer.status_code != 429 and answer.status_code < 500:
                    answer.raise_for_status()
                    return answer
                seconds = float(answer.headers.get("Retry-After", 0))
            except httpx.TransportError:
                seconds = 0
            time.sleep(max(seconds, min(2 * 2**tries, 300) * random.SystemRandom().uniform(0.5, 1)))
        raise TimeoutError(path)

    def say(self, verb: str, doc: str, *parts: Any) -> str:
        """Put an op into the queue; its id. From here on it is these bytes."""
        now = int(time.time() * 1000) + self.offset
        self.last = max((now - EPOCH_MS) * 4096, self.last + 1)
        self.at = max(now, self.at)
        op = [verb, self.device, self.last, self.at, self.person, doc, *parts]
        self.queue.append(json.dumps(op, ensure_ascii=False, separators=(",", ":")).encode())
        return hashlib.sha256(self.queue[-1]).hexdigest()

    def push(self) -> None:
        most = OPS_IN_BUNDLE_MAX
        while self.have < len(self.queue):
            ops = self.queue[self.have : self.have + most]
            prev = hashlib.sha256(self.queue[self.have - 1]).hexdigest() if self.have else None
            head = {"v": 1, "device": self.device, "certificate": self.certificate, "first": self.have + 1, "prev": prev}
            head["authors"] = {self.person: [self.token]}
            body = json.dumps(head).encode()[:-1] + b', "sealed": {}, "ops": [' + b",".join(ops) + b"]}"
            headers = {"Content-Type": "application/json", "Anlu-Signature": self.sign(body)}
            try:
                answer = self.ask("/api/sync/push", content=body, headers=headers).json()
            except httpx.HTTPStatusError as error:
                said = error.response.json()
                if error.response.status_code == 413 and most > 1:
                    most = max(1, len(ops) // 2)
                elif said["code"] == "sync.gap" and said["params"]["have"] < self.have:
                    self.have = said["params"]["have"]
                else:
                    raise
                continue
            self.have = answer["have"]
            self.verdicts |= {verdict["op"]: verdict for verdict in answer["verdicts"]}
            self.hear(answer["now"])

    def pull(self) -> None:
        more = True
        while more:
            asked, page = self.want[:100], []
            answer = self.ask("/api/sync/pull", json={"cursor": self.cursor, "want": asked})
            for line in map(json.loads, answer.text.splitlines()):
                page.append(line)
                if "cursor" in line:
                    self.take(page)
                    self.cursor, more, page = line["cursor"], line["more"], []
            self.want = [key for key in self.want if key not in asked]
            more = more or bool(self.want)

    def take(self, page: list[dict[str, Any]]) -> None:
        for line in page:
            if line.get("reset"):
                self.docs.clear()
            elif "verdict" in line:
                self.verdicts[line["verdict"]["op"]] = line["verdict"]
            elif "gone" in line:
                self.docs.pop(line["gone"], None)
            elif "doc" in line and line["seq"] > self.docs.get(line["doc"], (0,))[0]:
                self.docs[line["doc"]] = (line["seq"], line["body"])
            elif "patch" in line and line["patch"] not in self.docs:
                self.want.append(line["patch"])
            elif "patch" in line and line["seq"] > self.docs[line["patch"]][0]:
                body = self.docs[line["patch"]][1]
                body["fields"] |= line.get("set", {})
                for name, items in line.get("add", {}).items():
                    body["sets"].setdefault(name, {}).update(items)
                body["status"] = line.get("status", body["status"])
                self.docs[line["patch"]] = (line["seq"], body)


def main(address: str, username: str, password: str, note: str) -> None:
    client = Client(address)
    client.sign_in(username, password)
    client.pull()
    kinds = [body["fields"] for key, (_, body) in client.docs.items() if key.startswith("kind/")]
    version = max(fields["number"][0] for fields in kinds if fields["name"][0] == "hazard")
    area = min(key.partition("/")[2] for key in client.docs if key.startswith("area/"))
    hazard = f"hazard/{uuid7()}"
    reported = client.say("new", hazard, version, {"area": area, "note": note, "grade": "yellow"})
    remarked = client.say("add", hazard, "comments", uuid7(), {"text": "说自示例 from the example"})
    wrong = client.say("act", hazard, "close", {}, 0)
    client.push()
    client.pull()
    for name, op in {"report": reported, "comment": remarked, "close": wrong}.items():
        print(json.dumps({name: client.verdicts[op], "device": client.device}))
    print(json.dumps({"doc": hazard, "seq": client.docs[hazard][0], "body": client.docs[hazard][1]}, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])

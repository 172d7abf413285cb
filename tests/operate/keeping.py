"""A phone that keeps what was acknowledged, as phones do for 14 days, and a plant that is asked by its command line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from joserfc import jwe
from joserfc.jwk import ECKey

from backend.sync import op
from tests.e2e.client import Client
from tests.e2e.harness import ROOT, Plant


class Keeper(Client):
    """`kept`: each acknowledged bundle with its signature and receipt, sealed to the server's key: (first n, count, JWE)."""

    def sign_in(self, username: str, password: str = "anlu-demo") -> "Keeper":
        super().sign_in(username, password)
        self.kept: list[tuple[int, int, bytes]] = []
        keys = self.http.get("/api/auth/keys").json()["keys"]
        self.sealing = next(key for key in keys if key["use"] == "enc")
        self.epoch = ""
        return self

    def send(self, data: bytes, signature: str) -> list[dict[str, Any]]:
        first = self.sent + 1
        answer = self.http.post("/api/sync/push", content=data, headers={"Anlu-Signature": signature, "Content-Type": "application/json"})
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code} {answer.text}")
        given = answer.json()
        self.sent, self.epoch = given["have"], given["epoch"]
        header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": self.sealing["kid"]}
        plain = f"{signature}\n{given['receipt']}\n".encode() + data
        sealed = jwe.encrypt_compact(header, plain, ECKey.import_key(self.sealing), algorithms=["ECDH-ES", "A256GCM"])
        self.kept.append((first, len(given["verdicts"]), sealed.encode()))
        for verdict in given["verdicts"]:
            self.verdicts[verdict["op"]] = verdict
        return list(given["verdicts"])

    def ids(self) -> list[str]:
        return [op.op_id(data) for data in self.said]

    def have(self) -> int:
        """What the server says it has of this queue: a bundle with no ops asks."""
        empty = op.encode_bundle([], device=self.device, certificate=self.certificate, first=1, prev=None)
        answer = self.http.post("/api/sync/push", content=empty, headers={"Anlu-Signature": self.sign(empty)})
        assert answer.status_code == 200, answer.text
        self.epoch = answer.json()["epoch"]
        return int(answer.json()["have"])

    def heal(self) -> int:
        """Bring back what the server had and lacks, from the first bundle of which it lacks something; how many bundles."""
        have = self.have()
        sent = 0
        for first, count, sealed in self.kept:
            if first + count - 1 > have:
                answer = self.http.post("/api/sync/push", content=sealed, headers={"Content-Type": "application/jose"})
                assert answer.status_code == 200, answer.text
                sent += 1
                for verdict in answer.json()["verdicts"]:
                    self.verdicts[verdict["op"]] = verdict
        assert self.have() == self.sent
        return sent


def anlu(plant: Plant, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command of the operator's on this plant."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("ANLU_")}
    own |= {"ANLU_DATA": str(plant.folder / "data"), "ANLU_PASSWORD_MS": "20", "PYTHONUNBUFFERED": "1"} | plant.settings
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments], cwd=ROOT, env=own, capture_output=True, text=True, timeout=timeout, check=False
    )


def done(answer: subprocess.CompletedProcess[str]) -> str:
    """What it said, having done what it was asked."""
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def only_snapshot(folder: Path) -> Path:
    (found,) = [entry for entry in folder.iterdir() if (entry / "manifest.json").exists()]
    return found

// Anlu as phones use it: sign-in, device keys, author tokens, certificates, signatures, gzip up, whatever the server gives down.
// BENCH_PYTHON and BENCH_ROOT say with which Python, and where, `anlu serve` runs.
import { execFileSync } from "node:child_process";
import { createHash, createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import zlib from "node:zlib";
import { DOCUMENTS } from "./load.mjs";
import { Http, Server, traffic, until } from "./wire.mjs";

const OPS_MAX = 500;
const BYTES_MAX = 1_000_000;
const EPOCH_MS = 1_704_067_200_000;
const PASSWORD = "walk the line twice";

/** A device and the person signed in on it. */
class Phone {
  constructor(port) {
    this.http = new Http(port);
    const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.key = createPrivateKey(pair.privateKey.export({ type: "pkcs8", format: "pem" }));
    this.spki = pair.publicKey.export({ type: "spki", format: "der" }).toString("base64");
    this.queue = [];
    this.sent = 0;
    this.last = 0;
    this.prev = null;
    this.cursor = null;
    this.documents = new Map();
  }

  get device() {
    return { label: "bench", public_key: this.spki };
  }

  begin(given) {
    this.person = given.person.id;
    this.number = given.device;
    this.certificate = given.certificate;
    this.token = given.author_token;
    this.last = given.now;
    return this;
  }

  async signIn(username) {
    const answer = await this.http.good("POST", "/api/auth/sign-in", {
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ username, password: PASSWORD, device: this.device }),
    });
    return this.session(answer).begin(JSON.parse(answer.body.toString()));
  }

  session(answer) {
    this.cookie = answer.headers["set-cookie"].map((one) => one.split(";")[0]).join("; ");
    return this;
  }

  get headers() {
    return { cookie: this.cookie, "anlu-person": this.person, "anlu-device": String(this.number), "content-type": "application/json" };
  }

  /** Into the queue, as it is said: these bytes are what is hashed and sent. */
  say(verb, doc, ...rest) {
    const now = Date.now();
    this.last = Math.max((now - EPOCH_MS) * 4096, this.last + 1);
    this.queue.push(JSON.stringify([verb, this.number, this.last, now, this.person, doc, ...rest]));
  }

  /** The queue, bundle after bundle, each signed and answered before the next one leaves. */
  async push() {
    while (this.sent < this.queue.length) {
      const part = [];
      let size = 4_000;
      for (let n = this.sent; n < this.queue.length && part.length < OPS_MAX; n++) {
        size += Buffer.byteLength(this.queue[n]) + 1;
        if (size > BYTES_MAX) break;
        part.push(this.queue[n]);
      }
      const head = { v: 1, device: this.number, certificate: this.certificate, first: this.sent + 1, prev: this.prev, sealed: {} };
      const text = `${JSON.stringify({ ...head, authors: { [this.person]: [this.token] } }).slice(0, -1)},"ops":[${part.join(",")}]}`;
      const bundle = Buffer.from(text);
      const signature = sign("sha256", bundle, { key: this.key, dsaEncoding: "ieee-p1363" }).toString("base64");
      const answer = await this.http.good("POST", "/api/sync/push", {
        headers: { "content-type": "application/json", "content-encoding": "gzip", "anlu-signature": signature },
        body: zlib.gzipSync(bundle),
      });
      const { have, verdicts } = JSON.parse(answer.body.toString());
      const bad = verdicts.find((verdict) => verdict.state !== "ok");
      if (bad || have !== this.sent + part.length) throw new Error(`push: ${have} ${JSON.stringify(bad)}`);
      this.sent = have;
      this.prev = createHash("sha256").update(part.at(-1)).digest("hex");
    }
  }

  /** Everything that this phone lacks, taken over line by line. */
  async pull() {
    for (let more = true; more; ) {
      const answer = await this.http.good("POST", "/api/sync/pull", {
        headers: this.headers,
        body: JSON.stringify({ cursor: this.cursor, want: [] }),
      });
      for (const text of answer.body.toString().split("\n")) {
        if (text) more = this.take(JSON.parse(text), more);
      }
    }
  }

  take(line, more) {
    if (line.doc !== undefined) this.documents.set(line.doc, { seq: line.seq, body: line.body });
    else if (line.patch !== undefined) {
      const held = this.documents.get(line.patch);
      Object.assign(held.body.fields, line.set);
      for (const [name, items] of Object.entries(line.add ?? {})) Object.assign((held.body.sets[name] ??= {}), items);
      held.body.status = line.status ?? held.body.status;
      held.seq = line.seq;
    } else if (line.cursor !== undefined) {
      this.cursor = line.cursor;
      return line.more;
    }
    return more;
  }

  hazards() {
    return [...this.documents.keys()].filter((key) => key.startsWith("hazard/")).length;
  }
}

export default async function open({ folder, plant }) {
  const { BENCH_PYTHON: python, BENCH_ROOT: root } = process.env;
  // Default settings but for where: no other setting of the environment reaches it.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ANLU_")));
  Object.assign(env, { ANLU_DATA: `${folder}/data`, ANLU_PORT: "0", PYTHONUNBUFFERED: "1" });
  const command = ["-m", "backend.cli"];
  const server = new Server(python, [...command, "serve"], { cwd: root, env });
  const [, port, code] = await until(() => /http:\/\/127\.0\.0\.1:(\d+)\/set-up[\s\S]*code: ([0-9A-Z-]+)/.exec(server.log), { ms: 60_000 });
  const admin = new Phone(Number(port));
  await until(async () => (await admin.http.ask("GET", "/api/health")).status === 200);

  // A plant by its own doors: the first administrator, an area, machines, eight supervisors with an account each.
  const names = (text) => ({ zh: text, en: text });
  await admin.http.good("POST", "/api/auth/setup", {
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code, name: names("Admin"), username: "admin", password: PASSWORD }),
  });
  await admin.signIn("admin");
  admin.say("new", `area/${plant.area}`, 1, { code: "LG", names: names("Bay") });
  const newest = JSON.parse(execFileSync(python, ["-c", NEWEST], { cwd: root, env }).toString());
  for (const [n, id] of plant.machines.entries()) {
    const fields = { number: `QZ-${n}`, names: names(`Crane ${n}`), type: "overhead_crane", area: plant.area };
    admin.say("new", `machine/${id}`, newest.machine, fields);
  }
  for (const [n, id] of plant.people.entries()) {
    admin.say("new", `person/${id}`, newest.person, { names: names(`Person ${n}`), roles: [{ role: "supervisor", area: plant.area }] });
  }
  await admin.push();
  for (const [n, person] of plant.people.entries()) {
    await admin.http.json("POST", "/api/people/accounts", { person, username: `phone${n}`, password: PASSWORD }, admin.headers);
  }
  const phones = [];
  for (const n of plant.people.keys()) phones.push(await new Phone(Number(port)).signIn(`phone${n}`));

  const away = new Phone(Number(port));
  return {
    name: "Anlu",
    durability: "SQLite WAL, synchronous=FULL: on disk before the answer",
    process: server,

    async seed(list) {
      for (const { id, phone, fields } of list) {
        const { reporter, reported_at, ...said } = fields;
        phones[phone].say("new", `hazard/${id}`, newest.hazard, said);
      }
      await Promise.all(phones.map((phone) => phone.push()));
      await away.signIn("phone0");
    },
    async offline(edits) {
      for (const [n, list] of edits.entries()) {
        for (const { id, field, value } of list) phones[n].say("set", `hazard/${id}`, { [field]: value });
      }
      for (const phone of phones) phone.http = new Http(phone.http.port);
      return phones;
    },
    async push(ready) {
      await Promise.all(ready.map((phone) => phone.push()));
      return traffic(ready.map((phone) => phone.http));
    },
    async fresh() {
      away.http = new Http(away.http.port);
      return away;
    },
    async pull(phone) {
      await phone.pull();
      if (phone.hazards() !== DOCUMENTS) throw new Error(`${phone.hazards()} hazards`);
      return { documents: phone.documents.size, ...traffic([phone.http]) };
    },
    async behind(list) {
      for (const { id, field, value } of list) phones[7].say("set", `hazard/${id}`, { [field]: value });
      await phones[7].push();
      away.http = new Http(away.http.port);
      away.wanted = list.at(-1);
    },
    async delta() {
      await away.pull();
      const { id, field, value } = away.wanted;
      const held = away.documents.get(`hazard/${id}`).body.fields[field][0];
      if (JSON.stringify(held) !== JSON.stringify(value)) throw new Error("the last edit did not come");
      return traffic([away.http]);
    },
    async close() {
      await server.stop("SIGTERM");
      const run = (...args) => execFileSync(python, args, { cwd: root, env }).toString().trim();
      return {
        edits_kept: phones.reduce((total, phone) => total + phone.sent, 0),
        ledger: Number(run("-c", COUNT)),
        verify: run(...command, "verify"),
        raw: JSON.parse(run("-m", "bench.sync.raw", `${folder}/data/anlu.db`)),
      };
    },
  };
}

const NEWEST = `
import json
from backend.flow.load import file_kinds
print(json.dumps({kind.name: kind.kind.version for kind in file_kinds()}))`;
const COUNT = `
import sqlite3
from backend.settings import Settings
print(sqlite3.connect(Settings.read().database_url.removeprefix("sqlite:///")).execute("SELECT COUNT(*) FROM ledger").fetchone()[0])`;

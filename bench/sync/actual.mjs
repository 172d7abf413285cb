// Actual's sync server: a message for each field, with a hybrid clock; SQLite, on disk at each push. Its own protobuf library speaks for the phones.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { DELTA, DOCUMENTS } from "./load.mjs";
import { Http, Server, traffic, until } from "./wire.mjs";

const home = path.dirname(createRequire(import.meta.url).resolve("@actual-app/sync-server/package.json"));
const { SyncProtoBuf: proto } = createRequire(`${home}/package.json`)("@actual-app/crdt");
const BEGIN_MESSAGES = 20_000;
const SIZE_MB = "200";
const hour = 3_600_000;
const clock = (ms, count, node) => `${new Date(ms).toISOString()}-${count.toString(16).toUpperCase().padStart(4, "0")}-${node.padStart(16, "0")}`;
const EVER = clock(0, 0, "");

export default async function open({ folder, port }) {
  fs.mkdirSync(`${folder}/server-files`);
  fs.mkdirSync(`${folder}/user-files`);
  const env = { ...process.env, ACTUAL_DATA_DIR: folder, ACTUAL_PORT: String(port), ACTUAL_HOSTNAME: "127.0.0.1", NODE_ENV: "production" };
  for (const name of ["SYNC_ENCRYPTED_FILE_SYNC", "FILE_SYNC", "FILE"]) env[`ACTUAL_UPLOAD_${name}_SIZE_LIMIT_MB`] = SIZE_MB;
  const server = new Server(process.execPath, [`${home}/build/app.js`], { cwd: folder, env });
  const first = new Http(port);
  await until(async () => (await first.ask("GET", "/account/needs-bootstrap")).status === 200);
  await first.json("POST", "/account/bootstrap", { password: "x" });
  const { token } = (await first.json("POST", "/account/login", { password: "x" })).data;
  const file = { "x-actual-token": token, "x-actual-name": "bench", "x-actual-file-id": "bench", "x-actual-format": "2" };
  const upload = { headers: { ...file, "content-type": "application/encrypted-file" }, body: Buffer.from("x") };
  const { groupId } = JSON.parse((await first.good("POST", "/sync/upload-user-file", upload)).body);

  async function sync(http, messages, since) {
    const request = new proto.SyncRequest();
    request.setFileid("bench");
    request.setGroupid(groupId);
    request.setSince(since);
    for (const { id, field, value, at } of messages) {
      const message = new proto.Message();
      message.setDataset("hazard");
      message.setRow(id);
      message.setColumn(field);
      message.setValue(typeof value === "number" ? `N:${value}` : `S:${typeof value === "string" ? value : JSON.stringify(value)}`);
      const envelope = new proto.MessageEnvelope();
      envelope.setTimestamp(at);
      envelope.setIsencrypted(false);
      envelope.setContent(message.serializeBinary());
      request.addMessages(envelope);
    }
    const body = Buffer.from(request.serializeBinary());
    const answer = await http.good("POST", "/sync/sync", { headers: { "x-actual-token": token, "content-type": "application/actual-sync" }, body });
    return proto.SyncResponse.deserializeBinary(answer.body).getMessagesList();
  }

  let last = Date.now() - hour;
  let phones = [];
  let since = EVER;
  let away;
  const table = new Map();
  const take = (messages) => {
    for (const envelope of messages) {
      const message = proto.Message.deserializeBinary(envelope.getContent());
      const row = message.getRow();
      if (!table.has(row)) table.set(row, {});
      table.get(row)[message.getColumn()] = message.getValue();
    }
  };
  return {
    name: process.env.BENCH_PUSH_ONLY ? "Actual, push only" : "Actual sync server",
    durability: "SQLite rollback journal, synchronous=FULL: on disk before the answer",
    process: server,

    async seed(list) {
      const all = list.flatMap(({ id, fields }) => Object.entries(fields).map(([field, value]) => ({ id, field, value })));
      for (const [n, one] of all.entries()) one.at = clock((last += n % 50 ? 0 : 10), n % 60_000, "a");
      for (let n = 0; n < all.length; n += BEGIN_MESSAGES) {
        const part = all.slice(n, n + BEGIN_MESSAGES);
        await sync(first, part, part.at(-1).at);
      }
    },
    async offline(edits) {
      const base = last + 1_000;
      phones = edits.map((list, phone) => list.map((one, n) => ({ ...one, at: clock(base + 3 * n, 0, `c${phone}`) })));
      since = clock(base, 0, "");
      last = base + 3 * edits[0].length + 60_000;
      return phones.map((messages) => ({ messages, http: new Http(port) }));
    },
    async push(ready) {
      // Its client says up to where it was in step, and gets with the answer what others have said since. BENCH_PUSH_ONLY asks for nothing back.
      const from = process.env.BENCH_PUSH_ONLY ? clock(last, 0, "") : since;
      await Promise.all(ready.map(({ http, messages }) => sync(http, messages, from)));
      return traffic(ready.map(({ http }) => http));
    },
    async fresh() {
      return new Http(port);
    },
    async pull(http) {
      take(await sync(http, [], EVER));
      if (table.size !== DOCUMENTS) throw new Error(`${table.size} rows`);
      return { documents: table.size, ...traffic([http]) };
    },
    async behind(list) {
      last += 60_000;
      since = clock(last, 0, "");
      const messages = list.map((one) => ({ ...one, at: clock((last += 3), 0, "d") }));
      await sync(first, messages, clock(last, 0, ""));
      away = new Http(port);
    },
    async delta() {
      const messages = await sync(away, [], since);
      take(messages);
      if (messages.length !== DELTA) throw new Error(`${messages.length} messages`);
      return traffic([away]);
    },
  };
}

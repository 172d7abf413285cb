// pouchdb-server: CouchDB's replication, whole documents with their revisions; LevelDB, without waiting for the disk.
import { createHash } from "node:crypto";
import { DOCUMENTS } from "./load.mjs";
import { Http, Server, traffic, until } from "./wire.mjs";

const AT_ONCE = 1_000;
const WRITTEN_AT_ONCE = 100;
const revision = (text) => createHash("md5").update(text).digest("hex");
const chunks = (list, size) => Array.from({ length: Math.ceil(list.length / size) }, (_, n) => list.slice(n * size, (n + 1) * size));

export default async function open({ folder, port }) {
  const bin = new URL("./node_modules/.bin/pouchdb-server", import.meta.url).pathname;
  const args = [bin, "--port", String(port), "--host", "127.0.0.1", "--dir", folder, "--no-stdout-logs"];
  const server = new Server(process.execPath, args, { cwd: folder });
  const first = new Http(port);
  await until(async () => (await first.ask("GET", "/")).status === 200);
  await first.json("PUT", "/bench");

  const began = new Map();
  const known = new Set();
  let place = 0;
  let away;
  async function pull(http) {
    let documents = 0;
    for (;;) {
      const { results } = await http.json("GET", `/bench/_changes?style=all_docs&limit=${AT_ONCE}&since=${place}`);
      if (!results.length) return documents;
      place = results.at(-1).seq;
      const docs = results.flatMap(({ id, changes }) => changes.map(({ rev }) => ({ id, rev }))).filter(({ id, rev }) => !known.has(id + rev));
      for (const { id, rev } of docs) known.add(id + rev);
      const got = await http.json("POST", "/bench/_bulk_get?revs=true", { docs });
      documents += new Set(got.results.filter((one) => one.docs.some((doc) => doc.ok)).map(({ id }) => id)).size;
      if (results.length < AT_ONCE) return documents;
    }
  }
  return {
    name: "pouchdb-server",
    durability: "LevelDB: answered before it is on disk",
    process: server,

    async seed(list) {
      for (const part of chunks(list, AT_ONCE)) {
        const docs = part.map(({ id, fields }) => {
          const rev = revision(id);
          began.set(id, { fields, rev });
          return { _id: id, _rev: `1-${rev}`, _revisions: { start: 1, ids: [rev] }, ...fields };
        });
        await first.json("POST", "/bench/_bulk_docs", { docs, new_edits: false });
      }
    },
    async offline(edits) {
      // Several edits of one document are one leaf with its history.
      return edits.map((list, phone) => {
        const leaves = new Map();
        for (const { id, field, value } of list) {
          const from = began.get(id);
          if (!leaves.has(id)) leaves.set(id, { fields: { ...from.fields }, ids: [from.rev] });
          const leaf = leaves.get(id);
          leaf.fields[field] = value;
          leaf.ids.unshift(revision(`${phone}${leaf.ids[0]}${field}${JSON.stringify(value)}`));
        }
        const docs = [...leaves].map(([id, { fields, ids }]) => ({ _id: id, _rev: `${ids.length}-${ids[0]}`, _revisions: { start: ids.length, ids }, ...fields }));
        return { docs, http: new Http(port) };
      });
    },
    async push(ready) {
      const one = async ({ docs, http }) => {
        const missing = await http.json("POST", "/bench/_revs_diff", Object.fromEntries(docs.map((doc) => [doc._id, [doc._rev]])));
        for (const part of chunks(docs.filter((doc) => missing[doc._id]), WRITTEN_AT_ONCE)) {
          await http.json("POST", "/bench/_bulk_docs", { docs: part, new_edits: false });
        }
      };
      await Promise.all(ready.map(one));
      return traffic(ready.map(({ http }) => http));
    },
    async fresh() {
      return new Http(port);
    },
    async pull(http) {
      const documents = await pull(http);
      if (documents < DOCUMENTS) throw new Error(`${documents} documents`);
      return { documents, ...traffic([http]) };
    },
    async behind(list) {
      const keys = [...new Set(list.map(({ id }) => id))];
      const { rows } = await first.json("POST", "/bench/_all_docs?include_docs=true", { keys });
      const docs = new Map(rows.map(({ doc }) => [doc._id, doc]));
      for (const { id, field, value } of list) docs.get(id)[field] = value;
      await first.json("POST", "/bench/_bulk_docs", { docs: [...docs.values()] });
      away = new Http(port);
    },
    async delta() {
      await pull(away);
      return traffic([away]);
    },
  };
}

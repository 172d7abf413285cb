// Hocuspocus with Yjs: one document of nested maps in memory, stored whole a while after it was acknowledged. `ms` of a push is until every phone's
// edits are in the server's memory; `durable_ms` until they are in its database.
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
import { WebSocket } from "ws";
import * as Y from "yjs";
import { DOCUMENTS } from "./load.mjs";
import { Http, Server, sleep, until } from "./wire.mjs";

export default async function open({ folder, port }) {
  const server = new Server(process.execPath, [new URL("./yjs-server.mjs", import.meta.url).pathname, String(port), folder]);
  await until(() => server.log.includes("ready"));
  const told = new Http(port + 1);
  const holds = (where, marks) => async () => {
    const held = new Set((await told.json("GET", "/"))[where]);
    return marks.every((mark) => held.has(mark));
  };

  async function connect(doc) {
    let raw;
    class Socket extends WebSocket {
      constructor(url, protocols) {
        super(url, protocols, { maxPayload: 1e9 });
        raw = this;
      }
    }
    const socket = new HocuspocusProviderWebsocket({ url: `ws://127.0.0.1:${port}`, WebSocketPolyfill: Socket });
    const provider = new HocuspocusProvider({ websocketProvider: socket, name: "bench", document: doc });
    provider.attach();
    if (!provider.isSynced) await new Promise((done) => provider.on("synced", done));
    return {
      sent: () => until(() => !provider.hasUnsyncedChanges, { every: 2 }),
      stop() {
        const found = { up_kb: raw._socket.bytesWritten / 1_000, down_kb: raw._socket.bytesRead / 1_000 };
        provider.destroy();
        socket.destroy();
        return found;
      },
    };
  }
  const put = (doc, list, mark) =>
    doc.transact(() => {
      for (const { id, field, value } of list) doc.getMap("hazards").get(id).set(field, value);
      doc.getMap("marks").set(mark, 1);
    });

  let begun;
  let away;
  let wanted;
  let rounds = 0;
  return {
    name: "Hocuspocus + Yjs",
    durability: "the whole document to SQLite 2 to 10 s after it was acknowledged",
    process: server,

    async seed(list) {
      const doc = new Y.Doc();
      doc.transact(() => {
        for (const { id, fields } of list) doc.getMap("hazards").set(id, new Y.Map(Object.entries(fields)));
        doc.getMap("marks").set("seed", 1);
      });
      await (await connect(doc)).sent();
      await until(holds("stored", ["seed"]), { every: 50 });
      begun = Y.encodeStateAsUpdate(doc);
    },
    async offline(edits) {
      return edits.map((list, phone) => {
        const doc = new Y.Doc();
        Y.applyUpdate(doc, begun);
        put(doc, list, `phone${phone}`);
        return doc;
      });
    },
    async push(ready) {
      const [began, cpu] = [performance.now(), server.cpu()];
      const phones = await Promise.all(ready.map(connect));
      await Promise.all(phones.map((phone) => phone.sent()));
      const marks = ready.map((_, phone) => `phone${phone}`);
      await until(holds("live", marks));
      const taken = { ms: performance.now() - began, cpu_s: server.cpu() - cpu };
      await until(holds("stored", marks), { every: 20 });
      const bytes = phones.map((phone) => phone.stop());
      const sum = (way) => bytes.reduce((total, one) => total + one[way], 0);
      return { ...taken, durable_ms: performance.now() - began, up_kb: sum("up_kb"), down_kb: sum("down_kb") };
    },
    async fresh() {
      away = new Y.Doc();
      return away;
    },
    async pull(doc) {
      const phone = await connect(doc);
      await until(() => doc.getMap("hazards").size >= DOCUMENTS, { every: 1 });
      return { documents: doc.getMap("hazards").size, ...phone.stop() };
    },
    async behind(list) {
      const doc = new Y.Doc();
      Y.applyUpdate(doc, Y.encodeStateAsUpdate(away));
      put(doc, list, `behind${++rounds}`);
      const phone = await connect(doc);
      await phone.sent();
      phone.stop();
      await sleep(200);
      wanted = `behind${rounds}`;
    },
    async delta() {
      const phone = await connect(away);
      await until(() => away.getMap("marks").has(wanted), { every: 1 });
      return phone.stop();
    },
  };
}

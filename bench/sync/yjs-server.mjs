// The server that `yjs.mjs` starts: node yjs-server.mjs PORT FOLDER. On PORT + 1 it says which phones' marks it holds and has stored.
import http from "node:http";
import { SQLite } from "@hocuspocus/extension-sqlite";
import { Server } from "@hocuspocus/server";

const [, , port, folder] = process.argv;
let storing = [];
let stored = [];
let live = () => [];
const marks = (document) => [...document.getMap("marks").keys()];
const server = new Server({
  port: Number(port),
  address: "127.0.0.1",
  quiet: true,
  extensions: [new SQLite({ database: `${folder}/bench.sqlite` })],
  async afterLoadDocument({ document }) {
    live = () => marks(document);
  },
  async onStoreDocument({ document }) {
    storing = marks(document);
  },
  async afterStoreDocument() {
    stored = storing;
  },
});
await server.listen();
http.createServer((_, answer) => answer.end(JSON.stringify({ live: live(), stored }))).listen(Number(port) + 1, "127.0.0.1");
console.log("ready");

// One server, once through the work: node run.mjs ADAPTER. Prints a line of JSON.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DELTA, DELTAS, edits, PHONES, plant, records } from "./load.mjs";

const [, , name] = process.argv;
const { default: open } = await import(`./${name}.mjs`);
const folder = fs.mkdtempSync(path.join(process.env.BENCH_TMP ?? os.tmpdir(), "sync-"));
const where = plant(Date.now() - 3_600_000);
const list = records(where);
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

const server = await open({ folder, port: 20_000 + Math.floor(Math.random() * 20_000), plant: where });

async function timed(work) {
  const [cpu, began] = [server.process.cpu(), performance.now()];
  const found = (await work()) ?? {};
  return { ms: performance.now() - began, cpu_s: server.process.cpu() - cpu, ...found };
}

const done = { peer: name, server: server.name, durability: server.durability };
try {
  done.seed = await timed(() => server.seed(list));
  done.seeded_mb = server.process.memory();
  const ready = await server.offline(Array.from({ length: PHONES }, (_, phone) => edits(phone, list)));
  done.push = await timed(() => server.push(ready));
  const fresh = await server.fresh();
  done.pull = await timed(() => server.pull(fresh));
  const deltas = [];
  for (let n = 0; n < DELTAS; n++) {
    await server.behind(edits(90 + n, list, DELTA));
    deltas.push(await timed(() => server.delta()));
  }
  done.delta = Object.fromEntries(Object.keys(deltas[0]).map((key) => [key, median(deltas.map((one) => one[key]))]));
  done.peak_mb = server.process.memory();
  Object.assign(done, (await server.close?.()) ?? {});
} catch (error) {
  done.error = String(error.stack ?? error);
  done.log = server.process.log.slice(-2_000);
}
await server.process.stop();
fs.rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify(done));
process.exit(done.error ? 1 : 0);

// Replays histories given as JSON lines on standard input and writes what this side makes of each, a line each. Started by tests/sync/test_twins.py.
import { createInterface } from "node:readline";
import { runnerImport } from "vite";

const load = async (name) => (await runnerImport(new URL(`../../src/sync/${name}.ts`, import.meta.url).pathname, { configFile: false, logLevel: "error" })).module;
const [hlc, op, merge] = [await load("hlc"), await load("op"), await load("merge")];
const text = (bytes) => new TextDecoder().decode(bytes);

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line);
  console.log(task.bytes ? await read(task) : replay(task));
}

async function read({ bytes }) {
  const data = Uint8Array.from(Buffer.from(bytes, "base64"));
  try {
    return `${await op.opId(data)} ${text(op.canonical(JSON.parse(text(op.encode(op.decode(data))))))}`;
  } catch (error) {
    if (error instanceof op.Malformed) return error.reason;
    throw error;
  }
}

function replay({ arrivals, order }) {
  const previous = new Map();
  const judged = arrivals.map(([bytes, now]) => {
    const said = op.decode(new TextEncoder().encode(bytes));
    const [e, suspect] = hlc.effective(said.hlc, previous.get(said.device) ?? 0, now);
    previous.set(said.device, e);
    return { said, e, suspect };
  });
  const body = merge.begin(1, "open");
  for (const { said, e } of order.map((i) => judged[i])) {
    if (said.verb === "add") merge.putItems(body, { [said.set]: { [said.itemId]: merge.stamp(said.item, said.author, said.at) } }, e, said.device);
    else if (said.verb !== "act") merge.putFields(body, said.fields, e, said.device);
  }
  for (const { said, e } of judged.filter(({ said }) => said.verb === "act")) {
    merge.writeFields(body, said.input, e, said.device);
    merge.putPatch(body, { status: said.transition });
  }
  return `${judged.map(({ e, suspect }) => `${e}${suspect ? "?" : ""}`).join(" ")} ${text(merge.canonical(body))}`;
}

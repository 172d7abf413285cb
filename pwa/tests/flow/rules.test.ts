// Which rules hold for a document on the phone: those of its version, or of the version that took it over.
import { expect, test } from "vitest";
import { createFlow } from "../../src/sync/rules";
import type { Standing } from "../../src/sync/replay";

const label = { zh: "单", en: "Slip" };
const source = (version: number, more: object): string =>
  JSON.stringify({ kind: "slip", version, title: label, states: { open: { start: true, title: label } }, ...more });
const standing = (version: number, fields: Record<string, unknown>, status = "in_use"): Standing =>
  ({
    body: { version, status, fields: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, [value, 1, 1]])), sets: {} },
    seq: 1,
  }) as unknown as Standing;
const kindOf = (version: number, more: object = {}): Standing =>
  standing(1, { name: "slip", number: version, source: source(version, more) });

function flow(docs: Record<string, Standing>) {
  const made = createFlow({
    get: (key) => docs[key],
    keys: (kind) => Object.keys(docs).filter((key) => key.startsWith(`${kind}/`)),
    me: () => "me",
    now: () => 0,
  });
  made.observe(Object.keys(docs));
  return made;
}

test("a document keeps the rules of its version, and a version that takes it over brings its own", () => {
  const told = { computed: { told: { rule: '"by the third"' } }, takes_over: [1] };
  for (const order of [
    [1, 2, 3],
    [3, 2, 1],
  ]) {
    const docs = Object.fromEntries(order.map((version) => [`kind/${version}`, kindOf(version, version === 3 ? told : {})]));
    const made = flow(docs);
    expect(order.map((version) => [version, made.kind("slip", version)?.version]).sort()).toEqual([
      [1, 3],
      [2, 2],
      [3, 3],
    ]);
    expect(made.kind("slip")?.version).toBe(3);
    expect(made.view("slip/a", standing(1, {}, "open")).told).toBe("by the third");
    expect(made.view("slip/b", standing(2, {}, "open")).told).toBeUndefined();
  }
});

// SYNC's merge section as properties; tests/sync/test_merge_properties.py holds the same ones.
import fc from "fast-check";
import { expect, test } from "vitest";
import { CLOCK_AHEAD_MS_MAX, EPOCH_MS, effective, fromMs, HLC_MAX, make, see, toMs } from "../../src/sync/hlc";
import { type Body, begin, canonical, copy, type Ids, putFields, putItems, stamp } from "../../src/sync/merge";
import { decode, encodeBundle, Malformed, makeSet, opId, sealedHash } from "../../src/sync/op";

const AUTHOR = "01890a5d-ac96-774b-bcce-b302099a8057";
const ITEMS = ["01890a5d-ac96-774b-bcce-b302099a8001", "01890a5d-ac96-774b-bcce-b302099a8002", "01890a5d-ac96-774b-bcce-b302099a8003"];

// Few clocks, devices, names and items, so that everything collides.
const value = fc.oneof(
  fc.integer(),
  fc.string({ unit: "grapheme" }),
  fc.constant(null),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const said = fc.record({
  e: fc.integer({ min: 1, max: 6 }),
  device: fc.constantFrom(1, 2, 2 ** 48 - 1),
  fields: fc.dictionary(fc.constantFrom("a", "b", "constructor"), value),
  items: fc.dictionary(
    fc.constantFrom("notes", "photos"),
    fc.dictionary(fc.constantFrom(...ITEMS), fc.dictionary(fc.constantFrom("t", "by"), value)),
  ),
});
type Items = Parameters<typeof putItems>[1];
type Said = { e: number; device: number; fields: Record<string, unknown>; items: Items; id: string };
const history = fc
  .array(said, { maxLength: 12 })
  .map((list) => list.map((s, i): Said => ({ ...s, items: s.items as Items, id: `0${i.toString(16)}` })));
const shuffled = history.chain((ops) =>
  fc.tuple(fc.constant(ops), fc.shuffledSubarray([...ops, ...ops], { minLength: ops.length * 2 }), fc.nat(12)),
);

function merged(ops: readonly Said[], body: Body = begin(1, "open"), ids: Ids = new Map()): Body {
  for (const { e, device, fields, items, id } of ops) {
    putFields(body, fields, e, device, id, ids);
    const stamped = Object.fromEntries(
      Object.entries(items).map(([set, put]) => [
        set,
        Object.fromEntries(Object.entries(put).map(([k, item]) => [k, stamp(item, AUTHOR, e)])),
      ]),
    );
    putItems(body, stamped, e, device, id, ids);
  }
  return body;
}

const form = (body: Body) => new TextDecoder().decode(canonical(body));

test("any order and duplication of the same ops gives the same bytes", () => {
  fc.assert(fc.property(shuffled, ([ops, mixed]) => form(merged(mixed)) === form(merged(ops))));
});

test("any batching of the same ops gives the same bytes", () => {
  fc.assert(
    fc.property(shuffled, ([ops, mixed, cut]) => {
      const ids: Ids = new Map();
      const half = merged(mixed.slice(0, cut), undefined, ids);
      const kept = form(half);
      const whole = merged(mixed.slice(cut), copy(half), ids);
      return form(half) === kept && form(whole) === form(merged(ops));
    }),
  );
});

test("what changed is what differs: put on a copy of the body from before, it gives the body after", () => {
  fc.assert(
    fc.property(history, said, (ops, last) => {
      const before = merged(ops);
      const after = copy(before);
      const fields = putFields(after, last.fields, last.e, last.device);
      const sets = putItems(after, last.items as Items, last.e, last.device);
      Object.assign(before.fields, fields);
      for (const [set, put] of Object.entries(sets)) before.sets[set] = { ...before.sets[set], ...put };
      return form(before) === form(after);
    }),
  );
});

const clock = fc.integer({ min: EPOCH_MS - 86_400_000, max: EPOCH_MS + 4e11 });

test("a device's hlc only rises, however its clock stutters or steps back and whatever it sees", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(clock, fc.option(fc.nat(Math.floor(HLC_MAX / 4))))), (turns) => {
      let last = 0;
      for (const [now, seen] of turns) {
        if (seen !== null) last = see(last, seen);
        const next = make(last, now);
        if (!(next > last && Number.isSafeInteger(next) && next >= fromMs(now))) return false;
        last = next;
      }
      return true;
    }),
  );
});

test("an effective hlc is above the device's previous one and never far ahead of the server", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(HLC_MAX), clock)), (turns) => {
      let previous = 0;
      for (const [claimed, now] of turns) {
        const [e, suspect] = effective(claimed, previous, now);
        const bound = Math.max(previous + 1, fromMs(now + CLOCK_AHEAD_MS_MAX) + 4095);
        if (!(e > previous && e <= bound && suspect === toMs(claimed) - now > CLOCK_AHEAD_MS_MAX)) return false;
        previous = e;
      }
      return true;
    }),
  );
});

test("what a phone makes is well-formed, whatever was typed", async () => {
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9_]{0,9}$/), fc.string({ unit: "binary" })), async (fields) => {
      const at = { device: 7, hlc: 1, at: 1, author: AUTHOR, doc: `hazard/${ITEMS[0]}` };
      const made = await makeSet({ ...at, fields });
      expect(made.id).toBe(await opId(made.bytes));
      expect(decode(made.bytes)).toEqual(made.op);
      expect(JSON.stringify(made.op)).not.toMatch(/\\ud[89a-f]/);
      const bundle = encodeBundle({ device: 7, certificate: "c", first: 1, prev: null }, [made.bytes, made.bytes]);
      const text = new TextDecoder().decode(made.bytes);
      expect(new TextDecoder().decode(bundle)).toContain(`"ops":[${text},${text}]`);
    }),
  );
});

test("half characters become U+FFFD, and text that only looks like an escape stays", async () => {
  const fields = { a: "\ud83d", b: "\\ud83d", c: "\\\ud83d", d: "\ude00\ud83d", e: "😀" };
  const made = await makeSet({ device: 7, hlc: 1, at: 1, author: AUTHOR, doc: `hazard/${ITEMS[0]}`, fields });
  expect(made.op).toMatchObject({ fields: { a: "\ufffd", b: "\\ud83d", c: "\\\ufffd", d: "\ufffd\ufffd", e: "😀" } });
});

test("an op the server would refuse is refused when it is made", async () => {
  const said = { device: 7, hlc: 1, at: 1, author: AUTHOR, doc: `hazard/${ITEMS[0]}` };
  await expect(makeSet({ ...said, fields: { a: "x".repeat(20_000) } })).rejects.toThrow(Malformed);
});

test("bytes that are no op are Malformed and nothing else", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((text) => new TextEncoder().encode(`[${text}]`)),
      ),
      (bytes) => {
        try {
          decode(bytes);
        } catch (error) {
          return error instanceof Malformed;
        }
        return true;
      },
    ),
  );
});

test("a seal is the hash of salt and text", async () => {
  const salt = Uint8Array.from({ length: 16 }, (_, i) => i);
  expect(await sealedHash(salt, '{"lat":31.2}')).toBe("72f3ec81f70c5ddfa91c51487e0b2f0a0935bdde92d384e6c60b35ed75e0e7be");
});

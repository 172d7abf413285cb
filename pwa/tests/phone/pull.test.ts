import { beforeEach, describe, expect, test } from "vitest";
import { everything, PersonDb } from "../../src/store/person";
import { wrapNewKey } from "../../src/store/pin";
import { Offline } from "../../src/sync/net";
import { type Page, pull } from "../../src/sync/pull";
import { fact, killAt, PERSON, Phone } from "./phone";
import { TinyServer } from "./server";

let server: TinyServer;
let phone: Phone;
let own: PersonDb;
let key: CryptoKey;
let pages: Page[];

beforeEach(async () => {
  server = await TinyServer.start();
  phone = new Phone(server);
  await phone.signIn();
  own = new PersonDb(PERSON, phone.disk);
  key = (await wrapNewKey("1234", 1000)).key;
  pages = [];
});

const go = () =>
  pull({ device: phone.db, db: own, key, fetch: phone.fetch, headers: {}, wall: phone.wall, page: (page) => void pages.push(page) });
const id = (n: number) => `hazard/0190c000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`;
const doc = (n: number, seq: number, note = `n${n}`) => ({
  doc: id(n),
  seq,
  body: { version: 1, status: "reported", fields: { note: [note, seq, 5] }, sets: {} },
});
const head = (reset = false, total = 0) => ({ epoch: server.epoch, reset, total });
const end = (cursor: string, through: number, more = false) => ({ cursor, through, more });

async function held(): Promise<Record<string, { seq: number; note: unknown; status: string }>> {
  const found: Record<string, { seq: number; note: unknown; status: string }> = {};
  for await (const { held: batch } of everything(own, key))
    for (const now of batch) found[now.key] = { seq: now.seq, note: now.body.fields.note?.[0], status: now.body.status };
  return found;
}

describe("pulling", { timeout: 30_000 }, () => {
  test("documents, patches and goings are taken over; the cursor goes back with the next call", async () => {
    server.pulls = [
      () => [head(true, 2), doc(1, 10), doc(2, 11), end("a", 11)],
      () => [
        head(),
        { patch: id(1), seq: 12, set: { note: ["changed", 12, 5] }, add: { evidence: { x: [{ note: "e" }, 12, 5] } }, status: "assigned" },
        { gone: id(2), seq: 13 },
        end("b", 13),
      ],
    ];
    expect(await go()).toBe("done");
    expect(await held()).toEqual({
      [id(1)]: { seq: 10, note: "n1", status: "reported" },
      [id(2)]: { seq: 11, note: "n2", status: "reported" },
    });
    await go();
    expect(server.asked.map((asked) => asked.cursor)).toEqual([null, "a"]);
    expect(await held()).toEqual({ [id(1)]: { seq: 12, note: "changed", status: "assigned" } });
    expect((await own.place()).through).toBe(13);
  });

  test("what is stored can be read by nobody without the person's key", async () => {
    server.pulls = [() => [head(true), doc(1, 10, "secret-word"), end("a", 10)]];
    await go();
    const rows = await own.docs.toArray();
    expect(JSON.stringify(rows.map((row) => Buffer.from(row.data).toString("latin1")))).not.toContain("secret-word");
    const stranger = (await wrapNewKey("1234", 1000)).key;
    const reading = (async () => {
      for await (const _ of everything(own, stranger));
    })();
    await expect(reading).rejects.toThrow();
  });

  test("a record that went bad on disk is asked for anew, and spoils nothing else", async () => {
    server.pulls = [
      () => [head(true), doc(1, 10), doc(2, 11), end("a", 11)],
      (asked) => [head(), ...asked.want.map(() => doc(1, 10)), end("b", 11)],
    ];
    await go();
    await own.docs.update(id(1), { data: new ArrayBuffer(40) });
    expect(Object.keys(await held())).toEqual([id(2)]);
    await go();
    expect(server.asked[1]?.want).toEqual([id(1)]);
    expect(Object.keys(await held())).toEqual([id(1), id(2)]);
  });

  test("a line that is not newer than what is held changes nothing", async () => {
    server.pulls = [
      () => [head(true), doc(1, 10, "new"), end("a", 10)],
      () => [head(), doc(1, 9, "old"), { patch: id(1), seq: 10, set: { note: ["again", 1, 1] } }, end("b", 10)],
    ];
    await go();
    await go();
    expect(await held()).toEqual({ [id(1)]: { seq: 10, note: "new", status: "reported" } });
  });

  test("a patch for what is not held is asked for whole, once", async () => {
    server.pulls = [
      () => [head(true), end("a", 10)],
      () => [head(), { patch: id(1), seq: 11, set: {} }, { patch: id(2), seq: 11, set: {} }, end("b", 11)],
      (asked) => [head(), ...(asked.want.includes(id(1)) ? [doc(1, 11)] : []), end("c", 11)],
      () => [head(), end("c", 11)],
    ];
    for (let i = 0; i < 4; i++) await go();
    expect(server.asked.map((asked) => asked.want)).toEqual([[], [], [id(1), id(2)], []]);
    expect(Object.keys(await held())).toEqual([id(1)]);
  });

  test("a patch on a document of the same page is applied to it", async () => {
    server.pulls = [() => [head(true), doc(1, 10), { patch: id(1), seq: 11, status: "closed" }, end("a", 11)]];
    await go();
    expect(await held()).toEqual({ [id(1)]: { seq: 11, note: "n1", status: "closed" } });
  });

  test("a document that went may come back with a lower seq", async () => {
    server.pulls = [
      () => [head(true), doc(1, 10), end("a", 10)],
      () => [head(), { gone: id(1), seq: 11 }, end("b", 11)],
      () => [head(), doc(1, 10), end("c", 11)],
    ];
    for (let i = 0; i < 3; i++) await go();
    expect(Object.keys(await held())).toEqual([id(1)]);
  });

  test("an answer cut in the middle keeps the whole pages and goes on from there", async () => {
    const line = (value: unknown) => `${JSON.stringify(value)}\n`;
    server.pulls = [
      () => [head(true, 3), doc(1, 10), end("a", 0, true), doc(2, 11)].map(line).join("") + line(doc(3, 12)).slice(0, 30),
      (asked) => [head(false, 3), ...(asked.cursor === "a" ? [doc(2, 11), doc(3, 12)] : []), end("b", 12)],
    ];
    await expect(go()).rejects.toBeInstanceOf(Offline);
    expect(Object.keys(await held())).toEqual([id(1)]);
    expect(await own.place()).toMatchObject({ cursor: "a", through: 0, done: 1, total: 3, last: null });
    expect(await go()).toBe("done");
    expect(Object.keys(await held()).sort()).toEqual([id(1), id(2), id(3)]);
    expect((await own.place()).last).not.toBeNull();
  });

  test("an answer with no end is not an end", async () => {
    server.pulls = [() => [head(true), doc(1, 10)]];
    await expect(go()).rejects.toBeInstanceOf(Offline);
    expect(await held()).toEqual({});
  });

  test("many pages in one answer, and many answers, make one pull with its progress", async () => {
    server.pulls = [
      () => [head(true, 4), doc(1, 10), end("a", 0, true), doc(2, 11), end("b", 0, true)],
      () => [head(false, 4), doc(3, 12), end("c", 0, true)],
      () => [head(false, 4), doc(4, 13), end("d", 13)],
    ];
    expect(await go()).toBe("done");
    expect(server.asked.map((asked) => asked.cursor)).toEqual([null, "b", "c"]);
    expect(pages.map((page) => page.place.done)).toEqual([1, 2, 3, 0]);
    expect(pages.map((page) => page.place.through)).toEqual([0, 0, 0, 13]);
  });

  test("a reset forgets what does not come again, but only once everything has come", async () => {
    server.pulls = [
      () => [head(true), doc(1, 100), doc(2, 101), end("a", 101)],
      () => [head(true, 2), doc(1, 50, "older server"), end("b", 0, true)],
      () => [head(false, 2), doc(3, 52), end("c", 52)],
    ];
    await go();
    server.after = (path) => {
      if (path.endsWith("pull") && server.asked.length === 3) throw new TypeError("the line broke");
    };
    await expect(go()).rejects.toBeInstanceOf(Offline);
    expect(Object.keys(await held()).sort()).toEqual([id(1), id(2)]);
    expect((await held())[id(1)]).toMatchObject({ seq: 50, note: "older server" });
    server.after = () => undefined;
    server.pulls = [() => [head(false, 2), doc(3, 52), end("c", 52)]];
    await go();
    expect(Object.keys(await held()).sort()).toEqual([id(1), id(3)]);
    expect(pages.at(-1)?.gone).toEqual([id(2)]);
  });

  test("another epoch stops the pull before anything is taken: the phone pushes first", async () => {
    await go();
    server.epoch = "epoch-2";
    server.pulls = [() => [head(true), doc(1, 10), end("a", 10)]];
    expect(await go()).toBe("restored");
    expect(await held()).toEqual({});
    expect(await phone.db.read("resend")).toBe(true);
    expect(await phone.push()).toBeNull();
    expect(await go()).toBe("done");
    expect(Object.keys(await held())).toEqual([id(1)]);
  });

  test("verdicts that come by pull are stored: a parked op is decided, a refusal arrives late", async () => {
    const [a, b] = await phone.say(fact(), fact());
    server.judge = () => ({ state: "parked", code: "op.awaits_kind" });
    await phone.push();
    expect(await phone.states()).toEqual({ parked: 2 });
    const verdict = (op: string, n: number, state: string, seq: number) => ({
      verdict: { op, n, seq, state, ...(state === "refused" ? { code: "x.y", params: { a: 1 } } : {}) },
    });
    server.pulls = [() => [head(true), verdict(a?.op as string, 1, "ok", 20), verdict(b?.op as string, 2, "refused", 21), end("a", 21)]];
    await go();
    expect(await phone.states()).toEqual({ accepted: 1, refused: 1 });
    expect(await phone.db.ops.get(b?.op as string)).toMatchObject({ code: "x.y", params: { a: 1 }, seq: 21 });
  });

  test("an older verdict never replaces a newer one", async () => {
    const [a] = await phone.say(fact());
    await phone.push();
    await phone.db.ops.update(a?.op as string, { seq: 30, state: "accepted" });
    server.pulls = [() => [head(true), { verdict: { op: a?.op, n: 1, seq: 20, state: "parked" } }, end("a", 30)]];
    await go();
    expect(await phone.states()).toEqual({ accepted: 1 });
  });

  test("a restored server's older word on an op replaces what its lost life said, and the op is in view again", async () => {
    const [a] = await phone.say(fact());
    await phone.push();
    await phone.db.ops.update(a?.op as string, { seq: 30, state: "accepted", settled: 1, dismissed: 1 });
    server.epoch = "epoch-2";
    server.pulls = [() => [head(true), { verdict: { op: a?.op, n: 1, seq: 20, state: "parked", code: "op.awaits_kind" } }, end("a", 50)]];
    expect(await go()).toBe("restored");
    expect(await phone.push()).toBeNull();
    expect(await go()).toBe("done");
    const row = await phone.db.ops.get(a?.op as string);
    expect(row).toMatchObject({ state: "parked", seq: 20, code: "op.awaits_kind", settled: 0, dismissed: 0 });
  });

  test("the phone's clock follows what it has seen, but never further ahead than the server believes", async () => {
    const now = (Date.now() - 1_704_067_200_000) * 4096;
    const at = (e: number) => ({ doc: id(1), seq: 10, body: { version: 1, status: "", fields: { note: ["a", e, 5] }, sets: {} } });
    server.pulls = [() => [head(true), at(now + 60_000 * 4096), end("a", 10)]];
    await go();
    expect((await phone.clock()).last).toBe(now + 60_000 * 4096);
    server.pulls = [() => [head(true), { ...at(now * 2), seq: 11 }, end("b", 11)]];
    await go();
    expect((await phone.clock()).last).toBeLessThan(now + 302_000 * 4096);
  });

  test("killed at every write: what is held is always whole pages, and the next pull finishes", async () => {
    const answers = () => [
      () => [
        head(true, 4),
        doc(1, 10),
        doc(2, 11),
        end("a", 0, true),
        { patch: id(1), seq: 14, status: "x" },
        doc(3, 12),
        end("b", 14, false),
      ],
    ];
    for (let nth = 1; nth < 14; nth++) {
      const disk = new Phone(server);
      await disk.signIn();
      const db = new PersonDb(PERSON, disk.disk);
      const means = { device: disk.db, db, key, fetch: disk.fetch, headers: {}, wall: disk.wall, page: () => undefined };
      server.pulls = answers();
      const kill = killAt(nth);
      await pull(means).catch(() => undefined);
      kill.alive();
      db.close();
      own = new PersonDb(PERSON, disk.disk);
      const found = Object.keys(await held()).length;
      expect([0, 2, 3]).toContain(found);
      expect((await own.place()).cursor).toBe(found === 0 ? null : found === 2 ? "a" : "b");
      server.pulls = [
        (asked) =>
          asked.cursor === null ? (answers()[0]?.() ?? []) : [head(), { patch: id(1), seq: 14, status: "x" }, doc(3, 12), end("b", 14)],
      ];
      await pull({ ...means, db: own });
      expect((await held())[id(1)]).toMatchObject({ seq: 14, status: "x" });
      expect(Object.keys(await held())).toHaveLength(3);
    }
  });
});

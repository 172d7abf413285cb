import { beforeEach, describe, expect, test } from "vitest";
import { BUNDLES_KEPT_MS, dismiss, tidy } from "../../src/sync/outbox";
import { HttpError, Offline, pause } from "../../src/sync/net";
import { fact, killAt, PERSON, Phone, storage } from "./phone";
import { refuse, TinyServer } from "./server";

let server: TinyServer;
let phone: Phone;
beforeEach(async () => {
  server = await TinyServer.start();
  phone = new Phone(server);
  await phone.signIn();
});

/** Everything said is on the server once, in the order it was said. */
async function expectAll(count: number): Promise<void> {
  expect(server.taken).toHaveLength(count);
  expect(new Set(server.taken.map((t) => t.op)).size).toBe(count);
  expect(await phone.states()).toEqual({ accepted: count });
}

describe("pushing", { timeout: 30_000 }, () => {
  test("the server gets the very bytes that were stored", async () => {
    const [row] = await phone.say(fact());
    await phone.push();
    expect(server.taken[0]).toMatchObject({ op: row?.op, bytes: new TextDecoder().decode(row?.bytes as Uint8Array) });
    await expectAll(1);
  });

  test("more than a bundle holds goes in several, in order", async () => {
    await phone.say(...Array.from({ length: 1203 }, () => fact()));
    expect(await phone.push()).toBeNull();
    await expectAll(1203);
    expect(server.taken.map((t) => t.n)).toEqual(Array.from({ length: 1203 }, (_, i) => i + 1));
  });

  test("a lost answer doubles nothing", async () => {
    await phone.say(fact(), fact());
    server.after = () => {
      throw new TypeError("the line broke");
    };
    await expect(phone.push()).rejects.toBeInstanceOf(Offline);
    expect(await phone.states()).toEqual({ queued: 2 });
    server.after = () => undefined;
    expect(await phone.push()).toBeNull();
    await expectAll(2);
  });

  test("a server that is down, busy or limits the rate costs only time, and says when to come back", async () => {
    await phone.say(fact());
    for (const status of [500, 503, 429]) {
      server.before = (path) => (path.endsWith("push") ? refuse(status, "http.unavailable", {}, { "Retry-After": "7" }) : undefined);
      const error = await phone.push().catch((e) => e);
      expect(error).toBeInstanceOf(HttpError);
      expect(error.retryAfter).toBe(7000);
      expect(await phone.states()).toEqual({ queued: 1 });
    }
    server.before = () => undefined;
    await phone.push();
    await expectAll(1);
  });

  test("phones that were told the same time to wait come back at different ones, never earlier, and wait longer each time they fail", () => {
    const busy = new HttpError(503, "http.unavailable", {}, 7_000);
    const waits = Array.from({ length: 100 }, (_, i) => pause(busy, 1, () => i / 100));
    expect(new Set(waits).size).toBeGreaterThan(90);
    expect(Math.min(...waits)).toBe(7_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(10_500);
    for (const error of [new HttpError(500, "http.internal", {}, null), new Offline()]) {
      const longest = Array.from({ length: 12 }, (_, i) => pause(error, i + 1, () => 1));
      expect(longest.slice(0, 4)).toEqual([2_000, 4_000, 8_000, 16_000]);
      expect(longest.at(-1)).toBe(300_000);
      expect(pause(error, 3, () => 0)).toBe(4_000);
    }
  });

  test("a single op that is too large for the line's limit stops at itself and says so; what came before it is sent", async () => {
    await phone.say(fact(), fact(), fact("x".repeat(9_000)));
    server.bundleBytesMax = 5_000;
    expect((await phone.push())?.code).toBe("http.too_large");
    expect(await phone.states()).toEqual({ accepted: 2, queued: 1 });
    server.bundleBytesMax = 1_000_000;
    expect(await phone.push()).toBeNull();
    await expectAll(3);
  });

  test("401 pauses without losing anything, and goes on after signing in", async () => {
    await phone.say(fact());
    server.before = (path) => (path.endsWith("push") ? refuse(401, "device.certificate") : undefined);
    expect(await phone.push()).toEqual({ code: "device.certificate", params: {} });
    expect(await phone.states()).toEqual({ queued: 1 });
    server.before = () => undefined;
    await phone.signIn();
    await phone.push();
    await expectAll(1);
  });

  test("413 halves the bundle until it fits", async () => {
    await phone.say(...Array.from({ length: 64 }, () => fact("x".repeat(1000))));
    server.bundleBytesMax = 12_000;
    expect(await phone.push()).toBeNull();
    await expectAll(64);
    expect(server.log.filter((path) => path.endsWith("push")).length).toBeLessThan(20);
  });

  test("a bundle of big ops stays under a megabyte by itself", async () => {
    await phone.say(...Array.from({ length: 120 }, () => fact("x".repeat(16_000))));
    expect(await phone.push()).toBeNull();
    await expectAll(120);
  });

  test("a refused op blocks nothing behind it and stays in view with its reason", async () => {
    await phone.say(fact("good"), fact("bad"), fact("good too"));
    server.judge = (op) => ((op[7] as { note: string }).note === "bad" ? { state: "refused", code: "hazard.x" } : { state: "ok" });
    expect(await phone.push()).toBeNull();
    expect(await phone.states()).toEqual({ accepted: 2, refused: 1 });
    const row = await phone.db.ops.where("state").equals("refused").first();
    expect(row).toMatchObject({ code: "hazard.x", dismissed: 0 });
    expect(row?.bytes).not.toBeNull();
    await dismiss(phone.db, row?.op as string);
    expect((await phone.db.ops.get(row?.op as string))?.dismissed).toBe(1);
  });

  test("an answer whose receipt is not the server's is not believed", async () => {
    await phone.say(fact());
    const stranger = await TinyServer.start();
    const honest = server.token.bind(server);
    server.token = (typ, claims) => (typ === "receipt" ? stranger.token(typ, claims) : honest(typ, claims));
    expect(await phone.push()).toEqual({ code: "sync.receipt", params: {} });
    expect(await phone.states()).toEqual({ queued: 1 });
    server.token = honest;
    expect(await phone.push()).toBeNull();
    await expectAll(1);
  });

  test("a receipt that leaves an op out is not believed", async () => {
    await phone.say(fact(), fact());
    const honest = server.token.bind(server);
    server.token = (typ, claims) =>
      honest(typ, typ === "receipt" ? { ...claims, verdicts: (claims.verdicts as unknown[]).slice(1) } : claims);
    expect(await phone.push()).toEqual({ code: "sync.receipt", params: {} });
    expect(await phone.states()).toEqual({ queued: 2 });
  });

  test("a server key the phone has not met is fetched, never put in place of one it knows", async () => {
    await phone.say(fact());
    const keys = server.jwks.keys.map((key) => ({ ...key }));
    const honest = server.token.bind(server);
    server.jwks = { keys: [{ ...keys[0], kid: "sig-2" } as JsonWebKey, ...keys] };
    server.token = (typ, claims) => honest(typ, claims, "sig-2");
    expect(await phone.push()).toBeNull();
    const stranger = await TinyServer.start();
    server.jwks = { keys: [{ ...stranger.jwks.keys[0], kid: "sig-2" } as JsonWebKey] };
    server.token = (typ, claims) => stranger.token(typ, claims, "sig-2");
    await phone.say(fact());
    expect(await phone.push()).toEqual({ code: "sync.receipt", params: {} });
  });

  test("each op travels with the token its author held when it was said", async () => {
    await phone.say(fact());
    phone.offset = 3_600_000;
    server.clock = phone.wall;
    await phone.signIn();
    await phone.say(fact());
    await phone.push();
    expect(server.authors[0]?.[PERSON]).toHaveLength(2);
    await tidy(phone.db, [], phone.wall());
    expect(await phone.db.tokens.count()).toBe(1);
  });
});

describe("gaps, losses, forks", { timeout: 30_000 }, () => {
  test("where the server lacks acknowledged ops that are still at hand, they go again", async () => {
    await phone.say(fact(), fact(), fact());
    await phone.push();
    const device = server.devices.get((await phone.db.device())?.number as number);
    const [first] = server.taken;
    server.restore({ have: new Map([[(await phone.db.device())?.number as number, 1]]), ops: [first?.op as string] });
    await phone.say(fact());
    expect(await phone.push()).toBeNull();
    expect(device?.have).toBe(4);
    expect(server.lost).toEqual([]);
    await expectAll(4);
  });

  test("a restored server gets acknowledged bundles back that the phone itself can no longer read", async () => {
    for (let i = 0; i < 3; i++) {
      await phone.say(fact(), fact());
      await phone.push();
    }
    const all = (await phone.db.ops.toArray()).map((row) => row.op);
    await tidy(phone.db, all, Date.now());
    expect((await phone.db.ops.toArray()).every((row) => row.bytes === null)).toBe(true);
    server.restore({ have: new Map(), ops: [] }); // from before this phone was registered
    expect(await phone.push()).toBeNull(); // it learns of the new epoch only by asking
    await phone.say(fact());
    expect(await phone.push()).toBeNull();
    expect(server.lost).toEqual([]);
    expect(server.taken).toHaveLength(7);
    expect(await phone.db.read("resend")).toBeUndefined();
  });

  test("what the server took without being heard gets its verdicts, also where it asks for more or was asked where it stands", async () => {
    await phone.say(fact(), fact());
    server.after = () => {
      throw new TypeError("the line broke");
    };
    await expect(phone.push()).rejects.toBeInstanceOf(Offline);
    server.after = () => undefined;
    await phone.say(fact());
    await phone.db.write("resend", true); // as after a new epoch
    expect(await phone.push()).toBeNull();
    await expectAll(3);
  });

  test("a phone that lost part of its queue gives a restored server back what it had acknowledged, and gives up nothing else", async () => {
    await phone.say(fact(), fact(), fact());
    await phone.push();
    const all = await phone.db.ops.toArray();
    await tidy(
      phone.db,
      all.map((row) => row.op),
      Date.now(),
    );
    const number = (await phone.db.device())?.number as number;
    server.restore({ have: new Map([[number, 1]]), ops: all.filter((row) => row.n === 1).map((row) => row.op) });
    const [lost, kept] = await phone.say(fact(), fact());
    await phone.db.ops.delete(lost?.op as string);
    expect(await phone.push()).toBeNull();
    expect(server.lost).toEqual([[number, 4, 4]]);
    expect(server.taken.map((t) => t.n).sort()).toEqual([1, 2, 3, 5]);
    expect(server.taken.at(-1)?.op).toBe(kept?.op);
  });

  test("what no phone and no bundle holds any more is said to be lost, and the queue goes on", async () => {
    await phone.say(fact(), fact());
    await phone.push();
    await tidy(
      phone.db,
      (await phone.db.ops.toArray()).map((row) => row.op),
      Date.now(),
    );
    await phone.db.bundles.clear();
    server.restore({ have: new Map(), ops: [] });
    const [row] = await phone.say(fact());
    expect(await phone.push()).toBeNull();
    expect(server.lost).toEqual([[(await phone.db.device())?.number, 1, 2]]);
    expect(server.taken.map((t) => t.op)).toEqual([row?.op]);
  });

  test("a cloned phone registers anew, names its predecessor, and loses nothing", async () => {
    await phone.say(fact("common"));
    await phone.push();
    const clone = new Phone(server, storage());
    for (const table of phone.db.tables) await clone.db.table(table.name).bulkAdd(await table.toArray());
    await phone.say(fact("here"));
    await phone.push();
    const [a, b] = await clone.say(fact("there 1"), fact("there 2"));
    expect(await clone.push()).toBeNull();
    expect(server.taken.map((t) => t.op)).toContain(a?.op);
    expect(server.taken.map((t) => t.op)).toContain(b?.op);
    expect(server.taken).toHaveLength(4);
    const rows = await clone.db.ops
      .where("op")
      .anyOf([a?.op as string, b?.op as string])
      .toArray();
    expect(rows.map((row) => row.n).sort()).toEqual([1, 2]);
    expect(new Set(rows.map((row) => row.device)).size).toBe(1);
    expect(rows[0]?.device).not.toBe((await phone.db.device())?.number);
    await clone.say(fact("after"));
    expect(await clone.push()).toBeNull();
    expect(server.taken).toHaveLength(5);
  });

  test("after a fork an op still travels with the token of the device it was said on", async () => {
    await phone.say(fact("common"));
    await phone.push();
    const clone = new Phone(server, storage());
    for (const table of phone.db.tables) await clone.db.table(table.name).bulkAdd(await table.toArray());
    await phone.say(fact("here"));
    await phone.push();
    await clone.say(fact("there"));
    const old = await clone.db.tokens.toArray();
    expect(await clone.push()).toBeNull();
    // The new token was made in the same second: by its time alone it would fit as well.
    expect(await clone.db.tokens.count()).toBe(2);
    expect(server.authors.at(-1)).toEqual({ [PERSON]: [old[0]?.token] });
  });

  test("a rolled-back phone notices and registers anew", async () => {
    await phone.say(fact("one"));
    await phone.push();
    const old = new Phone(server, storage());
    for (const table of phone.db.tables) await old.db.table(table.name).bulkAdd(await table.toArray());
    await phone.say(fact("two"), fact("three"));
    await phone.push();
    await old.say(fact("other"));
    expect(await old.push()).toBeNull();
    expect(server.taken).toHaveLength(4);
    expect((await old.states()).queued).toBeUndefined();
  });

  test("a rolled-back phone that cannot read what it had not sent notices when it asks where it stands, and goes on", async () => {
    const old = new Phone(server, storage());
    for (const table of phone.db.tables) await old.db.table(table.name).bulkAdd(await table.toArray());
    await phone.say(fact("one"));
    await phone.push();
    const [lost] = await old.say(fact("other"));
    await old.db.ops.delete(lost?.op as string);
    expect(await old.push()).toBeNull();
    expect((await old.db.device())?.number).not.toBe((await phone.db.device())?.number);
    await old.say(fact("after"));
    expect(await old.push()).toBeNull();
    expect(server.taken).toHaveLength(2);
  });

  test("a forked queue waits for a session and says so", async () => {
    await phone.say(fact());
    server.before = (path) => (path.endsWith("push") ? refuse(409, "device.forked") : undefined);
    const { db, fetch, wall } = phone.means;
    const { push } = await import("../../src/sync/push");
    expect(await push({ db, fetch, wall })).toEqual({ code: "device.forked", params: {} });
    server.before = () => undefined;
    expect(await push({ db, fetch, wall })).toEqual({ code: "device.forked", params: {} });
    expect(await phone.push()).toBeNull();
    await expectAll(1);
  });

  test("acknowledged bundles are kept 14 days, sealed to the server", async () => {
    await phone.say(fact("secret-word"));
    await phone.push();
    const kept = await phone.db.bundles.toArray();
    expect(kept).toHaveLength(1);
    expect(kept[0]?.plain).toBeUndefined();
    expect(kept[0]?.sealed?.split(".")).toHaveLength(5);
    await tidy(phone.db, [], Date.now() + BUNDLES_KEPT_MS - 1000);
    expect(await phone.db.bundles.count()).toBe(1);
    await tidy(phone.db, [], Date.now() + BUNDLES_KEPT_MS + 1000);
    expect(await phone.db.bundles.count()).toBe(0);
  });
});

describe("killed", { timeout: 120_000 }, () => {
  // One script, run again and again, the phone killed at each of its writes in turn; then it starts again and finishes.
  const script = async (of: Phone, said: string[]): Promise<void> => {
    for (let i = 0; i < 3; i++) {
      for (const row of await of.say(fact(), fact())) said.push(row.op);
      await of.push();
      await tidy(of.db, [], of.wall());
    }
  };

  test("at every write: nothing that was said is lost or doubled, numbers have no gap", async () => {
    const probe = killAt(Number.POSITIVE_INFINITY);
    await script(phone, []);
    const writes = probe.writes();
    probe.alive();
    expect(writes).toBeGreaterThan(20);
    for (let nth = 1; nth <= writes; nth++) {
      const on = await TinyServer.start();
      let victim = new Phone(on);
      await victim.signIn();
      const said: string[] = [];
      const kill = killAt(nth);
      await script(victim, said).catch(() => undefined);
      expect(kill.writes()).toBeGreaterThanOrEqual(nth);
      kill.alive();
      victim = victim.reopen();
      expect(await victim.push(), `killed at write ${nth}`).toBeNull();
      for (const row of await victim.say(fact())) said.push(row.op);
      expect(await victim.push(), `killed at write ${nth}`).toBeNull();
      const ids = on.taken.map((t) => t.op);
      expect(new Set(ids).size, `killed at write ${nth}`).toBe(ids.length);
      expect(ids, `killed at write ${nth}`).toEqual(expect.arrayContaining(said));
      expect(
        on.taken.map((t) => t.n),
        `killed at write ${nth}`,
      ).toEqual(ids.map((_, i) => i + 1));
      expect((await victim.states()).queued, `killed at write ${nth}`).toBeUndefined();
    }
  });

  test("at every write of a new registration after a fork", async () => {
    for (let nth = 1; nth < 25; nth++) {
      const on = await TinyServer.start();
      const first = new Phone(on);
      await first.signIn();
      await first.say(fact());
      await first.push();
      let clone = new Phone(on, storage());
      for (const table of first.db.tables) await clone.db.table(table.name).bulkAdd(await table.toArray());
      await first.say(fact());
      await first.push();
      const said = (await clone.say(fact(), fact())).map((row) => row.op);
      const kill = killAt(nth);
      await clone.push().catch(() => undefined);
      kill.alive();
      clone = clone.reopen();
      expect(await clone.push(), `killed at write ${nth}`).toBeNull();
      const ids = on.taken.map((t) => t.op);
      expect(ids).toEqual(expect.arrayContaining(said));
      expect(new Set(ids).size).toBe(4);
      expect(ids).toHaveLength(4);
    }
  });
});

import { beforeEach, describe, expect, test } from "vitest";
import { nextTick, watchEffect } from "vue";
import { createCore, type World } from "../../src/app/core";
import type { Core } from "../../src/app/types";
import { tidyMedia } from "../../src/media/uploads";
import { DeviceDb } from "../../src/store/device";
import { PersonDb } from "../../src/store/person";
import { alone } from "../../src/sync/locks";
import { OTHER, PERSON, storage } from "../phone/phone";
import { refuse, TinyServer } from "../phone/server";

let server: TinyServer;
let disk: ReturnType<typeof storage>;
let now: number;
let world: Partial<World>;
let core: Core;

const id = (n: number) => `area/0190c000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`;
const KIND = {
  kind: "hazard",
  version: 1,
  title: { zh: "隐患", en: "Hazard" },
  states: { reported: { start: true } },
  fields: { note: { type: "text" } },
  new: { who: "true" },
};
const kindDoc = {
  doc: "kind/0190c000-0000-7000-8000-0000000000ff",
  seq: 1,
  body: {
    version: 1,
    status: "in_use",
    fields: { name: ["hazard", 1, 0], number: [1, 1, 0], source: [JSON.stringify(KIND), 1, 0] },
    sets: {},
  },
};
const area = (n: number, seq: number, code = `A${n}`) => ({
  doc: id(n),
  seq,
  body: { version: 1, status: "in_use", fields: { code: [code, seq, 0] }, sets: {} },
});
const line = (through: number) => ({ cursor: `c${through}`, through, more: false });

beforeEach(async () => {
  server = await TinyServer.start();
  server.seq = 10;
  disk = storage();
  now = Date.now();
  world = {
    ...disk,
    fetch: (path, init) => server.fetch(path.replace("http://server", ""), init),
    wall: () => now,
    exclusive: alone(),
    pinMs: 5,
    lively: false,
  };
  server.pulls = [
    (asked) => [
      { epoch: server.epoch, reset: asked.cursor === null, total: 3 },
      ...(asked.cursor === null ? [kindDoc, area(1, 2), area(2, 3)] : []),
      line(server.seq),
    ],
  ];
  core = createCore(world);
  await core.boot();
});

const restart = async (): Promise<Core> => {
  core = createCore(world);
  await core.boot();
  return core;
};
const open = async (person = PERSON, pin = "1234") => {
  await core.signIn(person, "password");
  await core.setPin(pin);
  await core.syncNow();
};

const QUEUED_PHOTO = {
  type: "image/jpeg",
  size: 1,
  w: 1,
  h: 1,
  bytes: new ArrayBuffer(1),
  author: PERSON,
  sent: 0,
  state: "queued",
  url: null,
} as const;

describe("who is here", { timeout: 30_000 }, () => {
  test("nobody, then a password, then a PIN, then the plant", async () => {
    expect(core.lock.value).toBe("none");
    await core.signIn(PERSON, "password");
    expect(core.lock.value).toBe("setPin");
    expect(core.me.value?.names.zh).toBe(PERSON);
    await core.setPin("1234");
    expect(core.lock.value).toBe("open");
    await core.syncNow();
    expect(core.list("area").value.map((d) => d.view.code)).toEqual(["A1", "A2"]);
    expect(core.sync.value).toMatchObject({ online: true, trouble: null, first: null, loading: null });
  });

  test("a PIN is four to six digits", async () => {
    await core.signIn(PERSON, "password");
    for (const bad of ["123", "1234567", "12a4", ""]) await expect(core.setPin(bad)).rejects.toMatchObject({ code: "auth.pin_form" });
    expect(core.lock.value).toBe("setPin");
  });

  test("signing in without a network says so", async () => {
    server.before = () => {
      throw new TypeError("no network");
    };
    await expect(core.signIn(PERSON, "password")).rejects.toMatchObject({ code: "auth.offline" });
  });

  test("a wrong password leaves everything as it was", async () => {
    server.before = (path) => (path.endsWith("sign-in") ? refuse(401, "auth.wrong") : undefined);
    await expect(core.signIn(PERSON, "wrong")).rejects.toMatchObject({ code: "auth.wrong" });
    expect(core.lock.value).toBe("none");
  });

  test("a reload goes on where it was, also offline", async () => {
    await open();
    server.before = () => {
      throw new TypeError("no network");
    };
    await restart();
    expect(core.lock.value).toBe("open");
    expect(core.list("area").value).toHaveLength(2);
  });

  test("a reload while choosing a PIN goes on choosing", async () => {
    await core.signIn(PERSON, "password");
    await restart();
    expect(core.lock.value).toBe("setPin");
    await core.setPin("1234");
    expect(core.lock.value).toBe("open");
  });

  test("fifteen idle minutes lock it, and a clock that was set back does not help", async () => {
    await open();
    now += 16 * 60_000;
    await restart();
    expect(core.lock.value).toBe("locked");
    await core.unlock(PERSON, "1234");
    now -= 3_600_000;
    await restart();
    expect(core.lock.value).toBe("locked");
  });

  test("locked, nothing of the person is in memory or readable on disk; the PIN opens it offline", async () => {
    await open();
    const list = core.list("area");
    expect(list.value).toHaveLength(2);
    core.lockNow();
    expect(list.value).toHaveLength(0);
    expect(core.me.value).toBeNull();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await new DeviceDb(disk).read("open")).toBeUndefined();
    server.before = () => {
      throw new TypeError("no network");
    };
    await restart();
    expect(core.lock.value).toBe("locked");
    await core.unlock(PERSON, "1234");
    expect(core.list("area").value).toHaveLength(2);
  });

  test("five wrong PINs clear what was read, never what was said; closing the app gives no sixth try", async () => {
    await open();
    const key = await core.create("hazard", { note: "unsent" });
    server.before = () => {
      throw new TypeError("no network");
    };
    core.lockNow();
    for (let left = 4; left > 0; left--) {
      await restart();
      await expect(core.unlock(PERSON, "0000")).rejects.toMatchObject({ code: "auth.pin_wrong", params: { left } });
    }
    await expect(core.unlock(PERSON, "0000")).rejects.toMatchObject({ code: "auth.pin_cleared" });
    await expect(core.unlock(PERSON, "1234")).rejects.toMatchObject({ code: "auth.pin_cleared" });
    expect(await new PersonDb(PERSON, disk).docs.count()).toBe(0);
    expect(core.people.value).toMatchObject([{ id: PERSON, hasPin: false }]);
    expect(core.unsent.value.count).toBe(1);
    server.before = () => undefined;
    await core.signIn(PERSON, "password");
    await core.setPin("5678");
    await core.syncNow();
    expect(server.taken.map((t) => JSON.parse(t.bytes)[5])).toEqual([key]);
    expect(core.list("area").value).toHaveLength(2);
  });

  test("the right PIN forgives the wrong ones before it", async () => {
    await open();
    core.lockNow();
    for (let i = 0; i < 3; i++) {
      await expect(core.unlock(PERSON, "0000")).rejects.toMatchObject({ params: { left: 4 } });
      await core.unlock(PERSON, "1234");
      core.lockNow();
    }
  });

  test("two persons on one phone each see their own, and both are sent under their own names", async () => {
    await open(PERSON, "1234");
    await core.create("hazard", { note: "mine" });
    await core.keepDraft("form", { half: "typed" });
    await core.signOut();
    expect(core.lock.value).toBe("locked");
    server.before = (path) => (path.endsWith("push") ? refuse(503, "http.unavailable") : undefined);
    await open(OTHER, "5678");
    expect(core.outbox.value).toEqual([]);
    expect(await core.draft("form")).toBeUndefined();
    await core.create("hazard", { note: "theirs" });
    expect(core.outbox.value).toHaveLength(1);
    core.lockNow();
    await core.unlock(PERSON, "1234");
    expect(await core.draft("form")).toEqual({ half: "typed" });
    expect(core.list("area").value).toHaveLength(2);
    server.before = () => undefined;
    await core.syncNow();
    expect(server.taken).toHaveLength(2);
    expect(server.authors.flatMap((authors) => Object.keys(authors)).sort()).toEqual([PERSON, OTHER]);
    expect(core.people.value).toHaveLength(2);
  });

  test("sign-out keeps unsent work, and the server hears of a sign-out without a network later", async () => {
    await open();
    server.before = () => {
      throw new TypeError("no network");
    };
    await core.create("hazard", { note: "unsent" });
    await core.signOut();
    expect(core.lock.value).toBe("locked");
    await restart();
    expect(core.unsent.value.count).toBe(1);
    server.before = () => undefined;
    server.log = [];
    await core.syncNow();
    expect(server.taken).toHaveLength(1);
    expect(server.log).toContain("/api/auth/sign-out");
    expect(core.unsent.value.count).toBe(0);
  });

  test("whoever forgot the PIN signs in and chooses another; nobody else can", async () => {
    await open();
    core.lockNow();
    await expect(core.newPin()).rejects.toMatchObject({ code: "auth.expired" });
    await core.signIn(PERSON, "password");
    expect(core.lock.value).toBe("locked");
    await core.newPin();
    expect(core.lock.value).toBe("setPin");
    await core.setPin("4321");
    await core.syncNow();
    expect(core.list("area").value).toHaveLength(2);
    core.lockNow();
    await expect(core.unlock(PERSON, "1234")).rejects.toMatchObject({ code: "auth.pin_wrong" });
  });

  test("a supervisor resets a PIN in person", async () => {
    await open();
    core.lockNow();
    await core.resetPin(PERSON, "supervisor", "password");
    expect(core.lock.value).toBe("setPin");
    expect(core.me.value?.id).toBe(PERSON);
    await core.setPin("1111");
    expect(core.lock.value).toBe("open");
  });

  test("a session that ended asks for a sign-in and costs nothing", async () => {
    await open();
    server.before = (path) => (path.endsWith("pull") ? refuse(401, "auth.expired") : undefined);
    await core.create("hazard", { note: "x" });
    await core.syncNow();
    expect(core.sync.value.trouble).toEqual({ code: "auth.expired", params: {} });
    expect(server.taken).toHaveLength(1);
    expect(core.lock.value).toBe("open");
    server.before = () => undefined;
    await core.signIn(PERSON, "password");
    expect(core.lock.value).toBe("open");
    expect(core.sync.value.trouble).toBeNull();
  });
});

describe("a server that was restored", { timeout: 30_000 }, () => {
  const said = async (): Promise<string[]> => {
    await open();
    for (let i = 0; i < 3; i++) await core.create("hazard", { note: `n${i}` });
    await core.syncNow();
    expect(server.taken).toHaveLength(3);
    return server.taken.map((one) => one.op);
  };

  test("gets back what was acknowledged from a phone that is locked and has nothing to send", async () => {
    const ops = await said();
    core.lockNow();
    server.restore({ have: new Map(), ops: [] });
    await core.syncNow();
    expect(server.taken.map((one) => one.op)).toEqual(ops);
    expect(core.lock.value).toBe("locked");
  });

  test("gets it from a phone that was started anew and stays locked", async () => {
    const ops = await said();
    now += 16 * 60_000;
    server.restore({ have: new Map(), ops: [] });
    await restart();
    await core.syncNow();
    expect(server.taken.map((one) => one.op)).toEqual(ops);
  });

  test("gets it where the session is over and nobody can sign in on the phone any more", async () => {
    const ops = await said();
    server.restore({ have: new Map(), ops: [] });
    server.before = (path) => (path.endsWith("/pull") || path.includes("/auth/") ? refuse(401, "auth.revoked") : undefined);
    await core.syncNow();
    expect(server.taken.map((one) => one.op)).toEqual(ops);
    expect(core.sync.value.trouble?.code).toBe("auth.revoked");
  });
});

describe("what they hold and say", { timeout: 30_000 }, () => {
  test("what was said is on disk before the promise resolves, and shows at once, claimed", async () => {
    await open();
    server.before = () => {
      throw new TypeError("no network");
    };
    const key = await core.create("hazard", { note: "a" });
    expect(core.get(key)).toMatchObject({ key, seq: 0, pending: true, view: { note: "a" } });
    await restart();
    expect(core.get(key)).toMatchObject({ pending: true, view: { note: "a" } });
    expect(core.outbox.value).toMatchObject([{ doc: key, verb: "new", state: "queued", said: { note: "a" } }]);
  });

  test("an accepted op stays on top until the document comes, then the server's word stands alone", async () => {
    await open();
    const key = await core.create("hazard", { note: "a" });
    server.before = (path) => (path.endsWith("pull") ? refuse(503, "http.unavailable") : undefined);
    await core.syncNow();
    expect(core.outbox.value[0]?.state).toBe("accepted");
    expect(core.get(key)?.view.note).toBe("a");
    server.before = () => undefined;
    server.pulls = [
      () => [
        { epoch: server.epoch, reset: false, total: 1 },
        { doc: key, seq: 11, body: { version: 1, status: "reported", fields: { note: ["a", 5, 5] }, sets: {} } },
        line(11),
      ],
    ];
    await core.syncNow();
    expect(core.get(key)).toMatchObject({ pending: false, seq: 11, view: { note: "a", status: "reported" } });
    expect(await new DeviceDb(disk).ops.filter((row) => row.bytes !== null).count()).toBe(0);
  });

  test("a refused op leaves at once, stays in view with its reason and its words, and is gone when it is dismissed", async () => {
    await open();
    server.judge = () => ({ state: "refused", code: "hazard.x" });
    const key = await core.create("hazard", { note: "bad" });
    await core.syncNow();
    expect(core.get(key)).toBeUndefined();
    expect(core.outbox.value).toMatchObject([{ state: "refused", code: "hazard.x", said: { note: "bad" } }]);
    await core.dismiss(core.outbox.value[0]?.op as string);
    expect(core.outbox.value).toEqual([]);
    await restart();
    expect(core.outbox.value).toEqual([]);
  });

  test("a refused change of a document shows the document as the server has it, marked", async () => {
    await open();
    server.judge = () => ({ state: "refused", code: "flow.not_allowed" });
    await core.set(id(1), { code: "mine" });
    expect(core.get(id(1))?.view.code).toBe("mine");
    await core.syncNow();
    expect(core.get(id(1))).toMatchObject({ view: { code: "A1" }, troubled: true, pending: false });
  });

  test("a parked op stays on top, marked", async () => {
    await open();
    server.judge = () => ({ state: "parked", code: "op.awaits_kind" });
    await core.set(id(1), { code: "mine" });
    await core.syncNow();
    expect(core.get(id(1))).toMatchObject({ view: { code: "mine" }, troubled: true, pending: true });
  });

  test("a screen wakes when its document changes and sleeps when others do", async () => {
    await open();
    const doc = core.doc(id(1));
    const other = core.doc(id(2));
    let woken = 0;
    let others = 0;
    watchEffect(() => {
      void doc.value;
      woken++;
    });
    watchEffect(() => {
      void other.value;
      others++;
    });
    await core.set(id(1), { code: "new" });
    await nextTick();
    expect(doc.value?.view.code).toBe("new");
    expect([woken, others]).toEqual([2, 1]);
  });

  test("a worker whose phone was cleared in the browser is told to sign in, not shown an empty plant as truth", async () => {
    expect(core.lock.value).toBe("none");
    await expect(core.create("hazard", {})).rejects.toMatchObject({ code: "auth.locked" });
  });

  test("drafts survive everything but their own end, and take what Vue wraps", async () => {
    await open();
    await core.keepDraft("f", { a: [1, 2], when: undefined });
    await restart();
    expect(await core.draft("f")).toEqual({ a: [1, 2] });
    await core.dropDraft("f");
    expect(await core.draft("f")).toBeUndefined();
  });

  test("a phone with photos still to send does not say that all is sent; a photo in an unfinished form is not sent, nor waited for", async () => {
    await open();
    await core.create("hazard", { note: "with a photo" });
    await core.syncNow();
    expect(core.unsent.value).toEqual({ count: 0, photos: 0, oldestAt: null });
    const db = new DeviceDb(disk);
    await db.media.bulkAdd([
      { ...QUEUED_PHOTO, sha256: "a".repeat(64), at: now - 5_000 },
      { ...QUEUED_PHOTO, sha256: "b".repeat(64), at: now },
    ]);
    await db.ops.toCollection().modify({ media: ["a".repeat(64)] });
    db.close();
    await restart();
    expect(core.uploads.value.map(({ of }) => of).sort()).toEqual(["form", "taken"]);
    expect(core.unsent.value).toEqual({ count: 0, photos: 1, oldestAt: now - 5_000 });
  });

  test("a photo that will never be taken is not waited for: it is the worker's to see to, until it is put aside", async () => {
    await open();
    const key = await core.create("hazard", { note: "with a photo" });
    await core.syncNow();
    const db = new DeviceDb(disk);
    const sha256 = "a".repeat(64);
    const bytes = new ArrayBuffer(1);
    const row = { sha256, type: "image/jpeg", size: 1, w: 1, h: 1, bytes, author: PERSON, at: now, sent: 0, url: null };
    await db.media.add({ ...row, state: "failed", code: "media.broken" });
    await db.ops.toCollection().modify({ media: [sha256] });
    await restart();
    expect(core.unsent.value.photos).toBe(0);
    expect(core.failed.value).toMatchObject([{ sha256, code: "media.broken", doc: key }]);
    await core.setPhotoAside(sha256);
    expect(core.failed.value).toEqual([]);
    expect((await db.media.get(sha256))?.bytes).not.toBeNull();
    now += 15 * 86_400_000;
    await tidyMedia(db, now);
    expect(await db.media.count()).toBe(0);
    db.close();
  });

  test("a phone whose clock jumps to another century goes on, keeps everything and says that its date is wrong", async () => {
    await open();
    const db = new DeviceDb(disk);
    await db.media.add({ ...QUEUED_PHOTO, sha256: "a".repeat(64), at: now });
    await core.create("hazard", { note: "before" });
    await core.syncNow();
    const kept = await db.bundles.count();
    expect(kept).toBeGreaterThan(0);
    const before = core.now();
    server.before = () => {
      throw new TypeError("no network");
    };
    now = Date.UTC(2250, 5, 1);
    expect(Math.abs(core.now() - before)).toBeLessThan(60_000);
    await core.create("hazard", { note: "after" });
    expect(core.sync.value.clock).toBe("wrong");
    expect(core.unsent.value.count).toBe(1);
    server.before = () => undefined;
    await core.syncNow();
    expect(core.sync.value.clock).toBe("good");
    expect(core.unsent.value.count).toBe(0);
    expect(await db.bundles.count()).toBeGreaterThanOrEqual(kept);
    expect(await db.media.count()).toBe(1);
    db.close();
  });

  test("what the chip counts is what the outbox lists, at any moment", async () => {
    await open();
    server.before = () => {
      throw new TypeError("no network");
    };
    const told: boolean[] = [];
    const stop = watchEffect(
      () => told.push(core.unsent.value.count === core.outbox.value.filter(({ state }) => state === "queued").length),
      {
        flush: "sync",
      },
    );
    for (const note of ["a", "b", "c"]) await core.create("hazard", { note });
    stop();
    expect(core.unsent.value.count).toBe(3);
    expect(told).not.toContain(false);
  });

  test("of ten thousand documents a change makes one anew; lists of other kinds are not even woken", async () => {
    await core.signIn(PERSON, "password");
    await core.setPin("1234");
    const many = Array.from({ length: 10_000 }, (_, i) => area(i + 10, i + 10));
    server.pulls = [() => [{ epoch: server.epoch, reset: true, total: many.length }, ...many, kindDoc, line(20_000)]];
    await core.syncNow();
    const list = core.list("area", (d) => d.view.code !== "A11");
    const others = core.list("hazard");
    const before = list.value;
    const [, none] = [before.length, others.value];
    expect(before).toHaveLength(9_999);
    await core.set(id(10), { code: "changed" });
    const kept = new Set(before);
    expect(list.value.filter((d) => !kept.has(d)).map((d) => d.view.code)).toEqual(["changed"]);
    expect(others.value).toBe(none);
  });
});

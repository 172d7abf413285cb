// The phone against the real server: what each promises the other, over real HTTP.
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCore } from "../../src/app/core";
import type { Core, Doc, KindFile } from "../../src/app/types";
import type { Carried } from "../../src/sync/carry";
import { keep, PIECE_BYTES, upload } from "../../src/media/uploads";
import { DeviceDb } from "../../src/store/device";
import { PersonDb } from "../../src/store/person";
import { uuid7 } from "../../src/sync/ids";
import { say } from "../../src/sync/outbox";
import { push } from "../../src/sync/push";
import { PYTHON, RealServer, Surround } from "./real";

let server: RealServer;
beforeAll(async () => {
  server = await RealServer.demo();
}, 60_000);
afterAll(() => server.end());

async function phone(username: string): Promise<{ around: Surround; core: Core }> {
  const around = new Surround(server);
  const core = createCore(around.world);
  await core.boot();
  await core.signIn(username, "anlu-demo");
  await core.setPin("1234");
  await core.syncNow();
  return { around, core };
}

describe("against the real server", { timeout: 30_000 }, () => {
  test("a first pull brings the plant, its kinds and one's own rights", async () => {
    const { core } = await phone("inspector");
    expect(core.sync.value).toMatchObject({ trouble: null, online: true, first: null });
    expect(core.list("plant").value).toHaveLength(1);
    expect(core.list("area").value.length).toBeGreaterThanOrEqual(5);
    expect(core.list("machine").value.length).toBeGreaterThan(0);
    expect(core.kinds().map((kind) => kind.kind)).toEqual(expect.arrayContaining(["hazard", "machine", "check.overhead_crane"]));
    expect(core.me.value?.has("report")).toBe(true);
  });

  test("a report made without a network arrives once and reaches a second phone", async () => {
    const { core, around } = await phone("inspector");
    const second = await phone("supervisor");
    const area = core.list("machine").value[0]?.view.area as string;
    around.online = false;
    const key = await core.create("hazard", { area, note: "雨棚漏水", grade: "yellow" });
    expect(core.get(key)?.pending).toBe(true);
    await core.syncNow();
    expect(core.sync.value.online).toBe(false);
    around.online = true;
    await core.syncNow();
    expect(core.outbox.value.map((item) => [item.state, item.code])).toEqual([["accepted", undefined]]);
    expect(core.get(key)).toMatchObject({ pending: false, view: { status: "reported", note: "雨棚漏水" } });
    await second.core.syncNow();
    expect(second.core.get(key)?.view).toMatchObject({ note: "雨棚漏水", reporter: core.me.value?.id });
  });

  test("killed while answering, the server has each op once", async () => {
    const { core, around } = await phone("worker");
    const area = core.list("machine").value[0]?.view.area as string;
    const key = await core.create("hazard", { area, note: "killed" });
    const { fetch } = around;
    around.fetch = async (path, init) => {
      const answer = await fetch(path, init);
      if (path.endsWith("/push")) {
        await server.kill();
        throw new TypeError("the line broke");
      }
      return answer;
    };
    const broken = createCore(around.world);
    await broken.boot();
    await broken.syncNow();
    around.fetch = fetch;
    await server.start("serve");
    const again = createCore(around.world);
    await again.boot();
    await again.syncNow();
    expect(again.sync.value.trouble).toBeNull();
    expect(again.outbox.value.map((item) => item.state)).toEqual(["accepted"]);
    expect(again.list("hazard", (d) => d.view.note === "killed").value.map((d) => d.key)).toEqual([key]);
  });

  test("a whole check without a network: every answer kept, the hazard and the fault foretold, then everything as the server judges it", async () => {
    const { core, around } = await phone("inspector");
    const second = await phone("supervisor");
    const kind = core.kind("check.overhead_crane") as KindFile & {
      items: { id: string; type: string; critical: boolean; min?: number; max?: number }[];
      checklist: { equipment_types: object };
    };
    const types = Object.keys(kind.checklist.equipment_types);
    const machine = core
      .list("machine", (d) => types.includes(d.view.type as string) && d.view.status === "running")
      .value.find((d) => core.mayCreate("check.overhead_crane", { machine: d.view.id, mode: "pre_shift" }).ok);
    expect(machine).toBeDefined();
    const on = machine as Doc;
    around.online = false;
    const key = await core.create("check.overhead_crane", { machine: on.view.id, mode: "pre_shift" });
    expect(core.get(key)?.view).toMatchObject({ status: "begun", area: on.view.area, inspector: core.me.value?.id });
    expect(core.may(key, "finish")).toMatchObject({ ok: false, code: "check.items_missing" });
    const bad = kind.items.find((item) => item.critical) as { id: string };
    for (const item of kind.items) {
      const value = item.type === "number" ? { value: item.min ?? item.max ?? 0 } : {};
      await core.add(
        key,
        "answers",
        item.id === bad.id ? { item: item.id, verdict: "bad", note: "裂纹", grade: "red" } : { item: item.id, verdict: "ok", ...value },
      );
    }
    // What follows is shown before the server has heard of it.
    const foretold = core.list("hazard", (d) => d.view.source === key).value;
    expect(foretold).toHaveLength(1);
    expect(foretold[0]).toMatchObject({
      pending: true,
      seq: 0,
      view: { item: bad.id, machine: on.view.id, note: "裂纹", status: "reported" },
    });
    expect(core.get(on.key)).toMatchObject({ pending: true });
    expect(core.get(on.key)?.view.open_faults).toHaveLength(1);
    expect(core.get(on.key)?.view.may_operate).toBe(false);
    await core.act(key, "finish");
    expect(core.get(key)?.view.status).toBe("failed");

    // The app is killed and started again, still without a network.
    const again = createCore(around.world);
    await again.boot();
    expect(again.get(key)?.view).toMatchObject({ status: "failed", bad_count: 1 });
    expect(again.list("hazard", (d) => d.view.source === key).value).toHaveLength(1);

    around.online = true;
    await again.syncNow();
    expect(again.sync.value.trouble).toBeNull();
    expect(again.outbox.value.filter((item) => item.state !== "accepted")).toEqual([]);
    const arrived = again.list("hazard", (d) => d.view.source === key).value;
    expect(arrived.map((d) => d.key)).toEqual(foretold.map((d) => d.key));
    expect(arrived[0]?.pending).toBe(false);
    expect(arrived[0]?.seq).toBeGreaterThan(0);
    expect(again.get(on.key)?.pending).toBe(false);
    // What was foretold is what came: word for word, clocks aside.
    for (const name of Object.keys(foretold[0]?.view ?? {})) expect(arrived[0]?.view[name], name).toEqual(foretold[0]?.view[name]);
    await second.core.syncNow();
    expect(second.core.get(key)?.view.status).toBe("failed");
    expect(second.core.get(on.key)?.view.may_operate).toBe(false);
    expect(second.core.get(arrived[0]?.key as string)?.view.note).toBe("裂纹");
  });

  test("what two persons do to one machine meets on the server, and each phone ends with the server's word", async () => {
    const a = await phone("inspector");
    const b = await phone("supervisor");
    const area = a.core.list("machine").value[0]?.view.area as string;
    const key = await a.core.create("hazard", { area, note: "first" });
    await a.core.syncNow();
    await b.core.syncNow();
    a.around.online = b.around.online = false;
    await a.core.set(key, { note: "by the inspector" });
    await new Promise((resolve) => setTimeout(resolve, 5));
    await b.core.set(key, { note: "by the supervisor" });
    b.around.online = true;
    await b.core.syncNow();
    a.around.online = true;
    for (const { core } of [a, b]) await core.syncNow();
    for (const { core } of [a, b]) expect(core.get(key)).toMatchObject({ pending: false, view: { note: "by the supervisor" } });
  });

  test("a place is sealed in the op and read again by whoever may", async () => {
    const { core } = await phone("inspector");
    const second = await phone("supervisor");
    const area = core.list("machine").value[0]?.view.area as string;
    const place = { lat: 39.1, lon: 117.2, accuracy_m: 12, source: "gps", phone_at: Date.now(), at: Date.now() };
    const key = await core.create("hazard", { area, note: "with a place", place });
    expect(core.get(key)?.view.place).toEqual(place);
    await core.syncNow();
    expect(core.outbox.value.map((item) => [item.state, item.code])).toEqual([["accepted", undefined]]);
    expect(core.get(key)?.view.place).toEqual(place);
    await second.core.syncNow();
    expect(second.core.get(key)?.view.place).toEqual(place);
  });

  test("an anonymous report, and what is added to it, names nobody on another phone", async () => {
    const { core } = await phone("worker");
    const second = await phone("supervisor");
    const area = core.list("machine").value[0]?.view.area as string;
    const key = await core.create("hazard", { area, note: "anonymous" }, { anonymous: true });
    await core.add(key, "comments", { text: "and more" });
    await core.syncNow();
    expect(core.outbox.value.map((item) => [item.verb, item.state, item.code])).toEqual([
      ["add", "accepted", undefined],
      ["new", "accepted", undefined],
    ]);
    await second.core.syncNow();
    const view = second.core.get(key)?.view;
    expect(view?.comments).toMatchObject([{ text: "and more" }]);
    expect(JSON.stringify(view)).not.toContain(core.me.value?.id);
    expect(JSON.stringify(core.get(key)?.view)).not.toContain(core.me.value?.id);
  });

  test("a phone that was cloned goes on beside the first, and nothing is lost", async () => {
    const first = await phone("inspector");
    const area = first.core.list("machine").value[0]?.view.area as string;
    await first.core.create("hazard", { area, note: "common" });
    await first.core.syncNow();
    const clone = new Surround(server);
    await copyDisk(first.around, clone);
    await first.core.create("hazard", { area, note: "here" });
    await first.core.syncNow();
    const other = createCore(clone.world);
    await other.boot();
    const there = await other.create("hazard", { area, note: "there" });
    await other.syncNow();
    expect(other.sync.value.trouble).toBeNull();
    expect(other.get(there)).toMatchObject({ pending: false, view: { note: "there" } });
    // The session they shared went with the new number: the first asks for a sign-in and has lost nothing.
    await first.core.syncNow();
    expect(first.core.sync.value.trouble?.code).toBe("auth.other_session");
    expect(first.core.lock.value).toBe("open");
    await first.core.signIn("inspector", "anlu-demo");
    expect(first.core.get(there)?.view.note).toBe("there");
    expect(await new DeviceDb(clone.disk).read("current")).not.toBe(await new DeviceDb(first.around.disk).read("current"));
  });

  test("a photo goes up in pieces after its op, goes on where the line broke, and is stored byte for byte", async () => {
    const { core, around } = await phone("inspector");
    const db = new DeviceDb(around.disk);
    const area = core.list("machine").value[0]?.view.area as string;
    const bytes = jpeg(900, 700);
    const photo = await keep(db, { bytes, type: "image/jpeg", w: 900, h: 700 }, core.me.value?.id as string, Date.now());
    const means = { db, fetch: around.fetch, origin: server.origin, wall: Date.now, changed: () => undefined };

    // Nothing is sent before its op: the server would not know what it is for.
    expect(await upload(means)).toBe(true);
    expect((await db.media.get(photo.sha256))?.state).toBe("queued");
    await core.create("hazard", { area, note: "photo", photos: [photo] });
    await core.syncNow();
    await until(async () => (await db.media.get(photo.sha256))?.state === "sent");

    const answer = await core.request<Blob>(`/api/media/${photo.sha256}/screen`);
    expect(answer.size).toBeGreaterThan(1000);
    // It is stored, so it is no longer open on the phone; its taker still has it under the PIN.
    expect((await db.media.get(photo.sha256))?.bytes).toBeNull();
    around.online = false;
    expect(await core.photo(photo.sha256, "screen")).toMatch(/^blob:/);
  });

  test("an upload that was cut goes on from the bytes the server has", async () => {
    const { core, around } = await phone("inspector");
    const db = new DeviceDb(around.disk);
    const area = core.list("machine").value[0]?.view.area as string;
    const bytes = jpeg(1600, 1200);
    expect(bytes.byteLength).toBeGreaterThan(2 * PIECE_BYTES);
    const photo = await keep(db, { bytes, type: "image/jpeg", w: 1600, h: 1200 }, core.me.value?.id as string, Date.now());
    const made = await say(
      db,
      core.me.value?.id as string,
      [{ verb: "new", doc: `hazard/${uuid7(Date.now(), new Uint8Array(10))}`, version: 1, fields: { area, note: "cut", photos: [photo] } }],
      Date.now,
    );
    expect(made[0]?.media).toEqual([photo.sha256]);
    expect(await push({ db, fetch: (path, init) => around.fetch(server.origin + path, init), wall: Date.now })).toBeNull();
    // One piece by hand, as a phone that died after it would have left it.
    const meta = `sha256 ${btoa(photo.sha256)},type ${btoa("image/jpeg")}`;
    const began = await fetch(`${server.origin}/api/media/uploads`, {
      method: "POST",
      headers: { "Tus-Resumable": "1.0.0", "Upload-Length": String(bytes.byteLength), "Upload-Metadata": meta },
    });
    const url = new URL(began.headers.get("Location") as string, server.origin).href;
    const headers = { "Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream" };
    expect((await fetch(url, { method: "PATCH", headers, body: bytes.slice(0, PIECE_BYTES) })).status).toBe(204);
    await db.media.update(photo.sha256, { url, sent: PIECE_BYTES, state: "sending" });
    const steps: number[] = [];
    const means = {
      db,
      fetch: around.fetch,
      origin: server.origin,
      wall: Date.now,
      changed: () => void db.media.get(photo.sha256).then((row) => steps.push(row?.sent ?? -1)),
    };
    expect(await upload(means)).toBe(true);
    expect(steps.every((sent) => sent >= PIECE_BYTES)).toBe(true);
    expect((await db.media.get(photo.sha256))?.state).toBe("sent");
  });

  test("a photo the server will never take is kept, with the reason", async () => {
    const { core, around } = await phone("inspector");
    const db = new DeviceDb(around.disk);
    const area = core.list("machine").value[0]?.view.area as string;
    const bytes = new TextEncoder().encode("no picture at all, whatever it is called".repeat(50)).buffer as ArrayBuffer;
    const photo = await keep(db, { bytes, type: "image/jpeg", w: 1, h: 1 }, core.me.value?.id as string, Date.now());
    await core.create("hazard", { area, note: "bad photo", photos: [photo] });
    await core.syncNow();
    await until(async () => (await db.media.get(photo.sha256))?.state === "failed");
    const row = await db.media.get(photo.sha256);
    expect(row?.code).toMatch(/^media\./);
    expect(row?.bytes).not.toBeNull();
  });

  test("what a phone cannot send comes in by its file from somebody else's phone, once, and it hears of it when it is back", async () => {
    const { core, around } = await phone("inspector");
    const carrier = (await phone("supervisor")).core;
    const db = new DeviceDb(around.disk);
    const area = core.list("machine").value[0]?.view.area as string;
    around.online = false;
    const photo = await keep(db, { bytes: jpeg(640, 480), type: "image/jpeg", w: 640, h: 480 }, core.me.value?.id as string, Date.now());
    const key = await core.create("hazard", { area, note: "carried", photos: [photo] });
    await core.add(key, "comments", { text: "and a word more" });
    const file = await core.exportQueue();

    const taken = async (): Promise<unknown[]> => {
      const found: Carried[] = [];
      await carrier.takeIn(file, (_, more) => found.push(...more));
      return found.map(({ what, state, n, code }) => [what, state, n, ...(code ? [code] : [])]);
    };
    const all = [
      ["op", "ok", 1],
      ["op", "ok", 2],
      ["photo", "ok", undefined],
    ];
    expect(await taken()).toEqual(all);
    expect(await taken()).toEqual(all);
    await carrier.syncNow();
    expect(carrier.get(key)?.view).toMatchObject({ note: "carried", comments: [{ text: "and a word more" }] });
    expect((await carrier.request<Blob>(`/api/media/${photo.sha256}/screen`)).size).toBeGreaterThan(1000);

    around.online = true;
    await core.syncNow();
    await until(async () => core.unsent.value.photos === 0);
    expect(core.unsent.value).toEqual({ count: 0, photos: 0, oldestAt: null });
    expect(carrier.list("hazard", (doc) => doc.view.note === "carried").value).toHaveLength(1);

    // What is no such file, or no longer whole, is refused in words before anything is sent; what was changed on the way is no harm.
    const text = await file.text();
    const refused = (bad: string) => expect(carrier.takeIn(new Blob([bad]), () => undefined)).rejects;
    await refused(text.slice(0, -200)).toMatchObject({ code: "file.damaged" });
    await refused("an ordinary letter").toMatchObject({ code: "file.not_ours" });
    await refused(text.replace('"v":1', '"v":2')).toMatchObject({ code: "file.newer" });
    const forged: Carried[] = [];
    await carrier.takeIn(new Blob([text.replace(/"jwe":"(.{200})./g, '"jwe":"$1-')]), (_, more) => forged.push(...more));
    expect(forged.map(({ state, code }) => [state, code])).toEqual([
      ["failed", "sync.sealed_bundle"],
      ["failed", "sync.sealed_bundle"],
    ]);
    expect(forged[0]).toMatchObject({ n: 1, last: 2 });
  });

  test("a check whose beginning was refused is begun again under its own name, and the answers that waited for it follow", async () => {
    const { core, around } = await phone("inspector");
    const admin = (await phone("admin")).core;
    const person = `person/${core.me.value?.id}`;
    const roles = admin.get(person)?.view.roles as Record<string, unknown>[];
    const kind = core.kind("check.overhead_crane") as KindFile & { items: { id: string; type: string }[] };
    const machine = core
      .list("machine")
      .value.find((d) => core.mayCreate("check.overhead_crane", { machine: d.view.id, mode: "pre_shift" }).ok);
    around.online = false;
    const key = await core.create("check.overhead_crane", { machine: machine?.view.id, mode: "pre_shift" });
    const plain = kind.items.filter((item) => item.type !== "number").slice(0, 3);
    for (const item of plain) await core.add(key, "answers", { item: item.id, verdict: "ok" });
    await admin.act(person, "assign_roles", { roles: [{ role: "gate", area: null }] });
    await admin.syncNow();
    expect(admin.outbox.value[0]?.state).toBe("accepted");
    around.online = true;
    await core.syncNow();
    const begun = core.outbox.value.find((item) => item.doc === key && item.verb === "new");
    expect(begun?.state).toBe("refused");
    expect(core.outbox.value.filter((item) => item.doc === key && item.state === "parked")).toHaveLength(3);

    // Without the right nothing is said, and nothing is lost.
    await expect(core.sayAgain(begun?.op as string)).rejects.toMatchObject({ code: expect.any(String) });
    expect(core.outbox.value.find((item) => item.op === begun?.op)?.state).toBe("refused");

    await admin.act(person, "assign_roles", { roles });
    await admin.syncNow();
    await core.syncNow();
    around.online = false;
    await core.sayAgain(begun?.op as string);
    expect(core.get(key)?.view.answers).toHaveLength(3);
    around.online = true;
    await core.syncNow();
    await core.syncNow();
    const about = core.outbox.value.filter((item) => item.doc === key);
    expect(about.map((item) => [item.verb, item.state])).toEqual([["new", "accepted"], ...Array(3).fill(["add", "accepted"])]);
    await admin.syncNow();
    expect(admin.get(key)?.view.answers).toHaveLength(3);
  });
});

/** Everything one phone holds, on another: cookies too. */
async function copyDisk(from: Surround, to: Surround): Promise<void> {
  const person = (await new DeviceDb(from.disk).people.toArray())[0]?.id as string;
  for (const [a, b] of [
    [new DeviceDb(from.disk), new DeviceDb(to.disk)],
    [new PersonDb(person, from.disk), new PersonDb(person, to.disk)],
  ] as const)
    for (const table of a.tables) await b.table(table.name).bulkAdd(await table.toArray());
  to.cookie = from.cookie;
}

/** A JPEG that Pillow made: noise, so that it does not shrink. */
function jpeg(w: number, h: number): ArrayBuffer {
  const script = `import os,sys,io;from PIL import Image;b=io.BytesIO();Image.frombytes("RGB",(${w},${h}),os.urandom(${w}*${h}*3)).save(b,"JPEG",quality=80);sys.stdout.buffer.write(b.getvalue())`;
  const made = execFileSync(PYTHON, ["-c", script], { maxBuffer: 20_000_000 });
  return made.buffer.slice(made.byteOffset, made.byteOffset + made.byteLength) as ArrayBuffer;
}

async function until(done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("it did not come to pass in 10 s");
}

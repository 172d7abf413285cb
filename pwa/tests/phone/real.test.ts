// The phone against the real server: what each promises the other, over real HTTP.
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCore } from "../../src/app/core";
import type { Core } from "../../src/app/types";
import { keep, PIECE_BYTES, upload } from "../../src/media/uploads";
import { DeviceDb } from "../../src/store/device";
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
});

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

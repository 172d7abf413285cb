import { beforeEach, describe, expect, test } from "vitest";
import { decode } from "../../src/sync/op";
import { believed, contact, exported, tick } from "../../src/sync/outbox";
import { fact, killAt, PERSON, Phone } from "./phone";
import { TinyServer } from "./server";

let server: TinyServer;
let phone: Phone;
beforeEach(async () => {
  server = await TinyServer.start();
  phone = new Phone(server);
  await phone.signIn();
});

describe("the queue", () => {
  test("numbers are 1, 2, 3 … without gaps, whoever speaks at once", async () => {
    await Promise.all(Array.from({ length: 20 }, () => phone.say(fact())));
    const rows = await phone.db.ops.toArray();
    expect(rows.map((row) => row.n).sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect((await phone.db.device())?.n).toBe(20);
  });

  test("two tabs never take the same number", async () => {
    const other = new Phone(server, phone.disk);
    await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? phone : other).say(fact())));
    const numbers = (await phone.db.ops.toArray()).map((row) => row.n);
    expect(new Set(numbers).size).toBe(20);
  });

  test("every op is later than the one before, by its clock and by its time", async () => {
    const rows = [];
    for (let i = 0; i < 10; i++) {
      phone.offset = i % 2 ? -86_400_000 : 0;
      rows.push(...(await phone.say(fact())));
    }
    for (const [i, row] of rows.entries()) {
      const before = rows[i - 1];
      if (before) {
        expect(row.hlc).toBeGreaterThan(before.hlc);
        expect(row.at).toBeGreaterThanOrEqual(before.at);
      }
    }
  });

  test("several things said as one are queued together or not at all", async () => {
    await phone.say(fact());
    const kill = killAt(3);
    await expect(phone.say(fact(), fact(), fact())).rejects.toThrow();
    kill.alive();
    phone = phone.reopen();
    expect(await phone.db.ops.count()).toBe(1);
    await phone.say(fact());
    expect((await phone.db.ops.toArray()).map((row) => row.n).sort()).toEqual([1, 2]);
  });

  test("a personal value is not in the op, travels beside it, and its hash fits", async () => {
    const place = { lat: 39.1, lon: 117.2 };
    const [row] = await phone.say({
      verb: "new",
      doc: "hazard/0190c000-0000-7000-8000-000000000009",
      version: 1,
      fields: { place, note: "a" },
      seal: ["place"],
    });
    const op = decode(row?.bytes as Uint8Array);
    expect(JSON.stringify(op)).not.toContain("39.1");
    const { sealed } = (op as unknown as { fields: { place: { sealed: string } } }).fields.place;
    const [salt, text] = row?.sealed[sealed] ?? ([] as never);
    expect(JSON.parse(text)).toEqual(place);
    const hash = await crypto.subtle.digest("SHA-256", Buffer.concat([Buffer.from(salt, "base64"), Buffer.from(text)]));
    expect(Buffer.from(hash).toString("hex")).toBe(sealed);
  });

  test("an anonymous report names nobody in its bytes", async () => {
    const [row] = await phone.say({
      verb: "new",
      doc: "hazard/0190c000-0000-7000-8000-000000000008",
      version: 1,
      fields: { note: "a" },
      anonymous: true,
    });
    expect(new TextDecoder().decode(row?.bytes as Uint8Array)).not.toContain(PERSON);
    expect(row?.author).toBe(PERSON);
    expect(await phone.push()).toBeNull();
  });

  test("what is too large is said before it is queued", async () => {
    const note = "x".repeat(20_000);
    await expect(phone.say(fact(note))).rejects.toMatchObject({ code: "op.too_large" });
    expect(await phone.db.ops.count()).toBe(0);
  });

  test("half characters never reach the wire", async () => {
    const [row] = await phone.say(fact("a\ud800b"));
    expect(decode(row?.bytes as Uint8Array)).toMatchObject({ fields: { note: "a\ufffdb" } });
  });

  test("the export holds every unsent op, and only the server can read it", async () => {
    await phone.say(fact(), fact());
    await phone.push();
    await phone.say(fact("secret-word"));
    const text = await (await exported(phone.db, Date.now())).text();
    expect(text).not.toContain("secret-word");
    const file = JSON.parse(text) as { bundles: { jwe: string }[] };
    expect(file.bundles).toHaveLength(1);
    const answer = await server.fetch("/api/sync/push", {
      method: "POST",
      headers: { "Content-Type": "application/jose" },
      body: file.bundles[0]?.jwe,
    });
    expect(answer.ok).toBe(true);
    expect(server.taken).toHaveLength(3);
  });
});

test("the export holds the photos that are not sent, and none that are", async () => {
  const row = { type: "image/jpeg", size: 3, w: 1, h: 1, author: "a", at: 1, sent: 0, url: null };
  await phone.db.media.bulkPut([
    { ...row, sha256: "aa", bytes: new Uint8Array([1, 2, 3]).buffer, state: "queued" },
    { ...row, sha256: "bb", bytes: null, state: "sent" },
  ]);
  const file = JSON.parse(await (await exported(phone.db, Date.now())).text()) as { photos: Record<string, string>[] };
  expect(file.photos).toEqual([{ sha256: "aa", type: "image/jpeg", jwe: expect.stringMatching(/^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/) }]);
});

describe("the clock", () => {
  const clock = { last: 0, at: 0, offset: 0, wall: 0, unsure: false };
  const T = 1_800_000_000_000;

  test("a clock that ran backwards is unsure until the next contact", () => {
    let now = tick(clock, T).clock;
    expect(now.unsure).toBe(false);
    now = tick(now, T - 500).clock;
    expect(now.unsure).toBe(false); // it stutters
    const back = tick(now, T - 3_600_000);
    expect(back.clock.unsure).toBe(true);
    expect(back.at).toBe(T);
    const server = (T + 10_000 - 1_704_067_200_000) * 4096;
    const after = contact(back.clock, server, T - 3_600_000, T - 3_600_000);
    expect(after).toMatchObject({ unsure: false, offset: 3_610_000 });
    expect(tick(after, T - 3_600_000).at).toBe(T + 10_000);
  });

  test("a phone whose clock was a year ahead dates nothing into the future after the first contact", () => {
    const wrong = tick(clock, T + 365 * 86_400_000).clock;
    const server = (T - 1_704_067_200_000) * 4096;
    const after = contact(wrong, server, T + 365 * 86_400_000, T + 365 * 86_400_000);
    const next = tick(after, T + 365 * 86_400_000);
    expect(next.at).toBe(T);
    expect(next.hlc).toBeLessThan(server + 4096 * 1000);
  });

  test("a phone in a year that cannot be dates by the last moment it heard of, and says so", () => {
    const server = (T - 1_704_067_200_000) * 4096;
    const known = contact(clock, server, T, T);
    for (const wall of [Date.UTC(2250, 5, 1), Date.UTC(2005, 5, 1), Date.UTC(9000, 0, 1), Number.NaN]) {
      expect(believed(known, wall)).toEqual({ now: T, wrong: true });
      const first = tick(known, wall);
      expect(first).toMatchObject({ at: T, clock: { unsure: true, wall: T } });
      const second = tick(first.clock, wall);
      expect(second.hlc).toBeGreaterThan(first.hlc);
      expect(second.at).toBe(T);
      // One contact puts it right, whatever the phone's own clock says.
      if (!Number.isNaN(wall))
        expect(believed(contact(second.clock, server, wall, wall), wall + 5_000)).toEqual({ now: T + 5_000, wrong: false });
    }
  });

  test("a slow line does not shift the phone's time", () => {
    const server = (T + 3_000 - 1_704_067_200_000) * 4096;
    expect(contact(clock, server, T, T + 8_000).offset).toBe(0);
    expect(contact({ ...clock, offset: 60_000 }, server, T, T + 8_000).offset).toBe(-1_000);
  });

  test("what was seen from a phone that runs four minutes ahead still loses to what is said after it", () => {
    const server = (T - 1_704_067_200_000) * 4096;
    const ahead = server + 240_000 * 4096;
    const after = contact({ ...clock, last: ahead }, server, T, T);
    expect(tick(after, T).hlc).toBeGreaterThan(ahead);
  });
});

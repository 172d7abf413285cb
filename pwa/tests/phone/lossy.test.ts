// The phone on a bad line. In the check the plant is smaller and the line faster; the whole promise (10,000 documents at 256 kbit/s) is tried by
// LOSSY_DOCS=10000 LOSSY_KBITS=256 ./justw test pwa/tests/phone/lossy.test.ts
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCore } from "../../src/app/core";
import { LossyLine, seeded } from "./lossy";
import { PYTHON, RealServer, ROOT, Surround } from "./real";

const DOCUMENTS = Number(process.env.LOSSY_DOCS ?? 2_000);
const KBITS = Number(process.env.LOSSY_KBITS ?? 4_096);
const MINUTES_MAX = 15;
const ROUNDS_MAX = 200;

/** Hazards of about 1 KB, said by ops like any others. */
const FILL = `
import random, sys
from tests.e2e.client import Client
count, r = int(sys.argv[2]), random.Random(5)
client = Client(sys.argv[1]).sign_in("safety")
client.pull()
areas = sorted(client.of_kind("area"))
words = ["吊钩", "钢丝绳", "制动器", "护栏", "煤气管道", "法兰", "滑触线", "漏油", "松动", "裂纹", "照明损坏", "通道堵塞"]
for i in range(count):
    client.new("hazard", 1, {"area": areas[i % len(areas)], "note": f"{i} " + "，".join(r.choice(words) for _ in range(60)), "grade": "blue"})
assert all(verdict["state"] == "ok" for verdict in client.push())
`;

let server: RealServer;
beforeAll(async () => {
  server = await RealServer.demo();
  execFileSync(PYTHON, ["-c", FILL, server.origin, String(DOCUMENTS)], { cwd: ROOT });
}, 300_000);
afterAll(() => server.end());

describe("a bad line", { timeout: MINUTES_MAX * 60_000 }, () => {
  test("a first sync over 1 % loss, 300 ms and cuts goes on where it broke, shows how far it is, and finishes", async () => {
    const line = await LossyLine.to(server.port, {
      kbits: KBITS,
      roundTripMs: 300,
      loss: 0.01,
      cutBytes: [150_000, 250_000],
      random: seeded(7),
    });
    const around = new Surround(server);
    const core = createCore({ ...around.world, origin: line.origin });
    await core.boot();
    await core.signIn("safety", "anlu-demo");
    const began = Date.now();
    const shares: number[] = [];
    const watched = setInterval(() => {
      const { first } = core.sync.value;
      if (first?.total) shares.push(first.done / first.total);
    }, 20);
    await core.setPin("1234");
    let rounds = 0;
    while (rounds++ < ROUNDS_MAX) {
      await core.syncNow();
      if (core.sync.value.online && core.sync.value.first === null) break;
    }
    clearInterval(watched);
    const seconds = (Date.now() - began) / 1000;
    const { down, cuts, lost } = line;
    await line.end();
    console.info(
      `${DOCUMENTS} documents at ${KBITS} kbit/s: ${seconds.toFixed(0)} s, ${(down / 1024).toFixed(0)} KB, ${cuts} cuts, ${lost} packets lost, ${rounds} rounds`,
    );
    expect(core.sync.value).toMatchObject({ online: true, first: null, trouble: null });
    expect(core.list("hazard").value).toHaveLength(DOCUMENTS);
    expect(cuts).toBeGreaterThan(0);
    // What a page had brought never went back, and not much came twice.
    expect(shares.filter((share, i) => share < (shares[i - 1] ?? 0))).toEqual([]);
    expect(new Set(shares).size).toBeGreaterThan(2);
    const straight = await LossyLine.to(server.port, { kbits: 1e6, roundTripMs: 0, loss: 0, cutBytes: [1e12, 1e12], random: Math.random });
    const other = createCore({ ...new Surround(server).world, origin: straight.origin });
    await other.boot();
    await other.signIn("safety", "anlu-demo");
    await other.setPin("1234");
    await other.syncNow();
    await straight.end();
    expect(down).toBeLessThan(2 * straight.down);
    expect(other.list("hazard").value.map((doc) => [doc.key, doc.seq])).toEqual(core.list("hazard").value.map((doc) => [doc.key, doc.seq]));
  });

  test("a session that ended stops reading and asks for sign-in; what was said is sent all the same, and nothing is lost", async () => {
    const around = new Surround(server);
    const core = createCore(around.world);
    await core.boot();
    await core.signIn("inspector", "anlu-demo");
    await core.setPin("1234");
    await core.syncNow();
    const area = core.list("area").value[0]?.view.id as string;
    around.cookie = "";
    const key = await core.create("hazard", { area, note: "session over", grade: "blue" });
    await core.syncNow();
    expect(core.sync.value.trouble?.code).toBe("auth.expired");
    expect(core.outbox.value.map((item) => item.state)).toEqual(["accepted"]);
    expect(core.get(key)?.view.note).toBe("session over");
    await core.signIn("inspector", "anlu-demo");
    expect(core.sync.value.trouble).toBeNull();
    expect(core.get(key)).toMatchObject({ pending: false, view: { note: "session over", status: "reported" } });
  });
});

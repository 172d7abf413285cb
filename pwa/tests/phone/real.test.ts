// The phone against the real server: what each promises the other, over real HTTP.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCore } from "../../src/app/core";
import type { Core } from "../../src/app/types";
import { RealServer, Surround } from "./real";

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

describe("against the real server", () => {
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
});

import "fake-indexeddb/auto";
import { expect, test, vi } from "vitest";
import { DeviceDb } from "../../src/store/device";
import { drain } from "../../src/sync/worker";
import { fact, Phone } from "./phone";
import { refuse, TinyServer } from "./server";

test("with nobody at the phone the worker sends the queue, stores the verdicts and pulls nothing", async () => {
  const server = await TinyServer.start();
  const phone = new Phone(server, {} as never);
  await phone.signIn();
  await phone.say(fact(), fact());
  server.log = [];
  vi.stubGlobal("fetch", server.fetch);
  server.before = () => refuse(503, "http.unavailable");
  await expect(drain()).rejects.toMatchObject({ status: 503 });
  server.before = () => undefined;
  server.judge = () => (server.taken.length ? { state: "refused", code: "x.y" } : { state: "ok" });
  await drain();
  vi.unstubAllGlobals();
  expect(server.taken).toHaveLength(2);
  expect(new Set(server.log)).toEqual(new Set(["/api/sync/push"]));
  const rows = await new DeviceDb().ops.toArray();
  expect(rows.map((row) => row.state).sort()).toEqual(["accepted", "refused"]);
  // Refused or accepted, everything is there for whoever opens the app next.
  expect(rows.every((row) => row.bytes !== null)).toBe(true);
});

import { expect, test } from "vitest";
import { photosOf } from "../../src/media/named";

const op = (state: "queued" | "accepted" | "parked" | "refused", media: string[], dismissed: 0 | 1 = 0, doc = "hazard/1") => ({
  state,
  media,
  dismissed,
  doc,
});

test("a photo goes once one op that names it was taken, whatever became of the others", () => {
  const found = photosOf([op("refused", ["a", "b"]), op("queued", ["a", "c"]), op("parked", ["a"]), op("accepted", ["d"])]);
  expect(Object.fromEntries([...found].map(([sha, { of }]) => [sha, of]))).toEqual({ a: "taken", b: "refused", c: "queued", d: "taken" });
});

test("nobody waits for the photo of a refusal that was put aside", () => {
  expect(photosOf([op("refused", ["a"], 1)]).size).toBe(0);
  expect(photosOf([op("refused", ["a"], 1), op("queued", ["a"])]).get("a")?.of).toBe("queued");
});

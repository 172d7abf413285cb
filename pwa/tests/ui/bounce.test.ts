import { expect, test } from "vitest";
import { BOUNCE_MS_MAX, BOUNCE_PX_MAX, bounced, type Tap } from "../../src/app/bounce";

const tap = (on: string, at: number, x = 200, y = 800): Tap => ({ on, at, x, y });

test("the second tap of a thumb that bounces does not press the key that came up under it", () => {
  expect(bounced(tap("submit", 1_000), tap("to today", 1_120))).toBe(true);
  expect(bounced(tap("submit", 1_000), tap("to today", 1_000 + BOUNCE_MS_MAX, 200 + BOUNCE_PX_MAX))).toBe(true);
});

test("whoever has read the new screen, presses elsewhere or types the same digit twice is heard", () => {
  expect(bounced(tap("submit", 1_000), tap("to today", 1_001 + BOUNCE_MS_MAX))).toBe(false);
  expect(bounced(tap("submit", 1_000), tap("to machine", 1_120, 200, 700))).toBe(false);
  expect(bounced(tap("5", 1_000), tap("5", 1_080))).toBe(false);
  expect(bounced(null, tap("submit", 0))).toBe(false);
});

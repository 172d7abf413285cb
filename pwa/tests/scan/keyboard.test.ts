import { expect, test } from "vitest";
import { parse } from "../../src/scan/code";
import { CHARS_MAX, CHARS_MIN, GAP_MS_MAX, Strokes } from "../../src/scan/keyboard";

/** What comes of typing a text and Enter, a key every `gap` ms. */
function typed(text: string, gap: number, strokes = new Strokes(), begins = 1_000): string | null {
  let at = begins;
  for (const key of [...text, "Enter"]) {
    const found = strokes.take({ key, at, other: false });
    if (key === "Enter") return found;
    at += gap;
  }
  return null;
}

test("a scanner's burst is the text it read, an address or a bare code", () => {
  const url = "https://safety.anlu.no-2-steelworks.example-group.com.cn:8443/t/K7Q29F3M";
  expect(typed(url, 5)).toBe(url);
  expect(parse(typed("K7Q29F3M", GAP_MS_MAX) ?? "")).toBe("K7Q29F3M");
});

test("what a person types is never a scan, however quick the person", () => {
  // 120 words a minute is a key every 100 ms.
  expect(typed("K7Q29F3M", 100)).toBeNull();
  expect(typed("K7Q29F3M", GAP_MS_MAX + 1)).toBeNull();
  expect(typed("hello", 5)).toBeNull();
  expect(typed("K".repeat(CHARS_MIN - 1), 1)).toBeNull();
});

test("one pause in the middle makes it a person's", () => {
  const strokes = new Strokes();
  let at = 0;
  for (const key of "K7Q2") strokes.take({ key, at: at++, other: false });
  at += GAP_MS_MAX + 1;
  for (const key of "9F3M") strokes.take({ key, at: at++, other: false });
  expect(strokes.take({ key: "Enter", at, other: false })).toBeNull();
});

test("an Enter long after the burst is a person's", () => {
  const strokes = new Strokes();
  for (const [n, key] of [..."K7Q29F3M"].entries()) strokes.take({ key, at: n, other: false });
  expect(strokes.take({ key: "Enter", at: 500, other: false })).toBeNull();
});

test("Shift between capitals is no pause, a shortcut or a key held down ends it", () => {
  const strokes = new Strokes();
  let at = 0;
  for (const key of "K7Q29F3M") {
    strokes.take({ key: "Shift", at: at++, other: false });
    strokes.take({ key, at: at++, other: false });
  }
  expect(strokes.take({ key: "Enter", at, other: false })).toBe("K7Q29F3M");
  for (const key of "K7Q29F3M") strokes.take({ key, at: at++, other: false });
  strokes.take({ key: "a", at: at++, other: true });
  expect(strokes.take({ key: "Enter", at, other: false })).toBeNull();
});

test("what is too long is given up whole, and the next scan is clean", () => {
  const strokes = new Strokes();
  expect(typed("x".repeat(CHARS_MAX + 1), 1, strokes)).toBeNull();
  expect(typed("x".repeat(CHARS_MAX * 2 + 20), 1, strokes, 5_000)).toBeNull();
  expect(typed("K7Q29F3M", 1, strokes, 10_000)).toBe("K7Q29F3M");
});

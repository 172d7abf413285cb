import { describe, expect, it } from "vitest";
import vectors from "../../../tests/vectors/tag_code.json";
import { parse, randomCode, typed } from "../../src/scan/code";

describe("tag codes", () => {
  it.each(vectors.parse)("$text is read as the server reads it: $why", ({ text, code }) => {
    expect(parse(text)).toBe(code);
  });

  it.each(vectors.typed)("$code is shown as it is printed", ({ code, typed: shown }) => {
    expect(typed(code)).toBe(shown);
  });

  it("a new code is one that is read, and never the one before", () => {
    const made = Array.from({ length: 200 }, randomCode);
    expect(new Set(made).size).toBe(200);
    for (const code of made) expect(parse(code)).toBe(code);
  });
});

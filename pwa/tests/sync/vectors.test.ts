// The vectors that vitest and pytest both run: tests/vectors/{hlc,op,merge}.json, see tests/sync/test_vectors.py.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as hlc from "../../src/sync/hlc";
import * as merge from "../../src/sync/merge";
import * as op from "../../src/sync/op";

// Vectors have the parts their file says; nothing here needs their types.
// biome-ignore lint/suspicious/noExplicitAny: see above
type Part = any;
interface Vector {
  title: string;
  rule?: string;
  reason?: string;
  [part: string]: Part;
}
interface VectorFile {
  count: number;
  rules?: string[];
  reasons?: string[];
  vectors: Vector[];
}

function read(name: string): VectorFile {
  return JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url), "utf-8"));
}

const FILES = { hlc: read("hlc"), op: read("op"), merge: read("merge") };
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

test.each(Object.entries(FILES))("every vector of %s is run and no two have one title", (_, file) => {
  expect(file.vectors.length).toBe(file.count);
  expect(new Set(file.vectors.map((v) => v.title)).size).toBe(file.count);
});

test.each([FILES.hlc, FILES.merge])("every rule has a vector", (file) => {
  expect(new Set(file.vectors.map((v) => v.rule))).toEqual(new Set(file.rules));
});

test("every reason for malformed has a vector", () => {
  expect(FILES.op.reasons).toEqual([...op.REASONS]);
  expect(new Set(FILES.op.vectors.flatMap((v) => v.reason ?? []))).toEqual(new Set(op.REASONS));
});

describe("hlc", () => {
  const calls: Record<string, (...args: number[]) => unknown> = {
    from_ms: hlc.fromMs,
    to_ms: hlc.toMs,
    make: hlc.make,
    see: hlc.see,
    effective: hlc.effective,
  };
  test.each(FILES.hlc.vectors)("$title", (vector) => {
    expect(calls[vector.call]?.(...vector.args)).toEqual(vector.gives);
  });
});

describe("op", () => {
  function raw(vector: Vector): Uint8Array<ArrayBuffer> {
    if (vector.base64) return Uint8Array.from(Buffer.from(vector.base64, "base64"));
    const filled = vector.fill ? vector.text.replaceAll("*", (vector.char ?? "a").repeat(vector.fill)) : vector.text;
    return new TextEncoder().encode(filled) as Uint8Array<ArrayBuffer>;
  }

  test.each(FILES.op.vectors)("$title", async (vector) => {
    const bytes = raw(vector);
    if (vector.reason) {
      expect(() => op.decode(bytes)).toThrow(`op.malformed: ${vector.reason}`);
      return;
    }
    const found = op.decode(bytes);
    if (vector.size) {
      expect(bytes.length).toBe(vector.size);
    } else {
      expect(text(op.canonical(JSON.parse(text(op.encode(found)))))).toBe(text(op.canonical(vector.op)));
      expect(await op.opId(bytes)).toBe(vector.id);
    }
    expect(op.decode(op.encode(found))).toEqual(found);
  });
});

describe("merge", () => {
  function take(body: merge.Body, step: Part[], ids?: merge.Ids): unknown {
    const [call, ...rest] = step;
    if (call === "put_fields") return merge.putFields(body, rest[0], rest[1], rest[2], rest[3], ids);
    if (call === "put_items") return merge.putItems(body, rest[0], rest[1], rest[2], rest[3], ids);
    if (call === "write_fields") return merge.writeFields(body, rest[0], rest[1], rest[2]);
    if (call === "put_patch") return merge.putPatch(body, rest[0]);
    if (call === "on_copy") return take(merge.copy(body), rest[0], ids);
    if (call !== "stamp") throw new Error(call);
    const [set, id, item, author, at, e, device] = rest;
    return merge.putItems(body, { [set]: { [id]: merge.stamp(item, author, at) } }, e, device);
  }

  function orders<T>(list: T[]): T[][] {
    if (list.length < 2) return [list];
    return list.flatMap((first, i) => orders(list.filter((_, k) => k !== i)).map((rest) => [first, ...rest]));
  }

  test.each(FILES.merge.vectors)("$title", (vector) => {
    if (vector.text) {
      expect(text(merge.canonical(JSON.parse(vector.text)))).toBe(vector.gives_text);
      return;
    }
    for (const steps of vector.any_order ? orders(vector.steps as Part[][]) : [vector.steps as Part[][]]) {
      const body = merge.begin(1, "open");
      const ids: merge.Ids | undefined = vector.ids ? new Map() : undefined;
      const answers = steps.map((step) => take(body, step, ids));
      expect(text(merge.canonical(body))).toBe(text(merge.canonical(vector.gives)));
      if (vector.changed) expect(answers.at(-1)).toEqual(vector.changed);
    }
  });
});

import { expect, test } from "vitest";
import { editFields, faultOf, inputFields, newFields, said, start } from "../../src/app/generic/form";
import { choicesOf, show } from "../../src/app/generic/show";
import { distance } from "../../src/scan/last";

const kind = {
  kind: "thing",
  version: 1,
  title: { zh: "东西", en: "Thing" },
  new: { set: { owner: "actor.id" } },
  edit: [{ fields: ["note"], who: "true" }],
  fields: {
    note: { type: "text", max: 5, required: true },
    owner: { type: "ref", of: "person", only_by: ["new"] },
    area: { type: "ref", of: "area", only_by: ["new", "move"] },
    due_at: { type: "time", only_by: ["assign"] },
    where: { type: "map" },
  },
  transitions: { assign: { input: { due_at: { type: "time", required: true } } } },
};

test("a new document asks for what only its beginning may write, not for what it sets itself or what comes later", () => {
  expect(Object.keys(newFields(kind))).toEqual(["note", "area"]);
  expect(Object.keys(editFields(kind))).toEqual(["note"]);
  expect(Object.keys(inputFields(kind, "assign"))).toEqual(["due_at"]);
});

test("what is wrong by type alone is seen while it is typed", () => {
  expect(faultOf({ type: "text", required: true }, "")).toBe("required");
  expect(faultOf({ type: "text", max: 2 }, "三个字")).toBe("long");
  expect(faultOf({ type: "number", min: 1, max: 3 }, 0)).toBe("low");
  expect(faultOf({ type: "number", min: 1, max: 3 }, 4)).toBe("high");
  expect(faultOf({ type: "number", min: 1, max: 3 }, 3)).toBeNull();
  expect(faultOf({ type: "label", required: true }, { zh: "", en: "" })).toBe("required");
});

test("only what was asked and filled in is said, both languages of a label filled", () => {
  const fields = {
    names: { type: "label" },
    note: { type: "text" },
    rows: { type: "table", columns: { a: { type: "text" } } },
    head: { type: "section" },
  };
  expect(said(fields, { names: { zh: "炉" }, note: "", rows: [{ a: "x", b: "y" }, { a: "" }], head: 1, other: 2 })).toEqual({
    names: { zh: "炉", en: "炉" },
    rows: [{ a: "x" }, {}],
  });
});

test("a draft goes before the kind's own beginning", () => {
  const fields = { mode: { type: "choice", default: "a" }, note: { type: "text" } };
  expect(start(fields)).toEqual({ mode: "a" });
  expect(start(fields, { mode: "b", note: "n", gone: 1 })).toEqual({ mode: "b", note: "n" });
});

test("a value is shown in words, never as its code", () => {
  const spec = { type: "choice", of: { pre_shift: { zh: "班前", en: "Before the shift" } } };
  expect(choicesOf(spec)).toEqual([{ value: "pre_shift", text: "班前" }]);
  expect(show(spec, "pre_shift", 0)).toBe("班前");
  expect(show(spec, "gone_since", 0)).not.toContain("gone_since");
  expect(show({ type: "yes_no" }, true, 0)).toBe("是");
  expect(show({ type: "duration" }, 90 * 60_000, 0)).toBe("1 小时 30 分钟");
  const place = { lat: 39.91, lon: 116.4, accuracy_m: 1000, source: "gps", at: 0, rounded: true };
  expect(show({ type: "place" }, place, 0)).toContain("大致位置，误差约 1000 米");
  expect(show({ type: "scan" }, "K3ZGJARZ", 0)).toBe("K3ZG-JARZ");
  expect(show({ type: "number", unit: "turn" }, 2, 0)).toBe("2 圈");
  expect(show({ type: "list", item: { type: "media" } }, [{}, {}], 0)).toBe("2 张照片");
});

test("how far somebody stands from a machine is told in metres, and not at all where the machine has no place", () => {
  expect(distance({ lat: 31.4, lon: 121.4 }, { lat: 31.4009, lon: 121.4 })).toBe(100);
  expect(distance(null, { lat: 31.4, lon: 121.4 })).toBeNull();
});

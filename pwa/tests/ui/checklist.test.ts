import { describe, expect, it } from "vitest";
import type { CheckItem } from "../../src/app/kinds";
import { changesOf, copyOf, newItem, proposed, said, wrongIn } from "../../src/desk/checklist";

const item = (id: string, over: Partial<CheckItem> = {}): CheckItem => ({
  id: `crane.${id}`,
  title: { zh: "制动器", en: "Brake" },
  type: "yes_no",
  critical: true,
  photo_on_fail: true,
  hint: { zh: "试动", en: "Try it" },
  ...over,
});

describe("a check list that is changed", () => {
  it("shows first what is dropped, then what is weaker, then what is new, then what moved", () => {
    const before = [item("a"), item("b"), item("c"), item("d")];
    const after = [
      item("d"),
      item("a"),
      item("c", { critical: false }),
      { ...newItem("crane", "yes_no", "x1"), title: { zh: "灭火器", en: "Extinguisher" } },
    ];
    expect(changesOf(before, after).map(({ item, how, parts }) => [item.id, how, parts])).toEqual([
      ["crane.b", "dropped", []],
      ["crane.c", "changed", ["part_not_critical"]],
      ["crane.own_x1", "added", []],
      ["crane.d", "moved", []],
      ["crane.a", "moved", []],
    ]);
    expect(changesOf(before, copyOf(before))).toEqual([]);
  });

  it("names every part that another person must see", () => {
    const parts = (over: Partial<CheckItem>, was: Partial<CheckItem> = {}) => changesOf([item("a", was)], [item("a", over)])[0]?.parts;
    expect(parts({ photo_on_fail: false })).toEqual(["part_no_photo"]);
    expect(parts({ type: "number", max: 5 }, { type: "number", max: 3 })).toEqual(["part_bounds"]);
    expect(parts({ title: { zh: "别的", en: "Other" } })).toEqual(["part_words"]);
    expect(parts({ min: null })).toBeUndefined();
  });

  it("is not proposed without words in both languages, a unit, and bounds in order", () => {
    expect(wrongIn([item("a")])).toEqual([]);
    expect(wrongIn([newItem("crane", "number", "x")]).map((one) => one.what)).toEqual([
      "item_zh_first",
      "item_en_first",
      "item_hint_first",
      "item_unit_first",
    ]);
    expect(wrongIn([item("a", { title: { zh: "Brake", en: "制动" } })]).map((one) => one.what)).toEqual(["item_zh_first", "item_en_first"]);
    expect(wrongIn([item("a", { type: "number", unit: "mm", min: 3, max: 1 })]).map((one) => one.what)).toEqual(["item_bounds_crossed"]);
  });

  it("is said in parts that an op can hold, and read again from them", () => {
    const many = Array.from({ length: 60 }, (_, n) => item(`n${n}`, { title: { zh: "检查项目".repeat(20), en: "Item" } }));
    const parts = said(many);
    expect(parts?.items_2).toBeDefined();
    for (const part of Object.values(parts ?? {}))
      expect(new TextEncoder().encode(JSON.stringify(part)).length).toBeLessThanOrEqual(14_000);
    expect(proposed(parts ?? {})).toEqual(many);
    expect(said(Array.from({ length: 200 }, (_, n) => item(`n${n}`, { title: { zh: "检查项目".repeat(30), en: "Item" } })))).toBeNull();
    expect(proposed({ items: "no list" })).toEqual([]);
  });
});

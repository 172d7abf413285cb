import { expect, test } from "vitest";
import type { CheckItem } from "../../src/app/kinds";
import { Calendar } from "../../src/flow/calendar";
import {
  boundsOf,
  checkKindsFor,
  dwellLeft,
  firstOpen,
  inside,
  latest,
  limitUnset,
  proofsOf,
  readingOf,
  restOf,
  shuffled,
  tally,
  typeDigit,
  unitName,
} from "../../src/domains/equipment/checks";
import { awayFrom, tooFar } from "../../src/domains/equipment/away";
import type { View } from "../../src/app/types";
import vectors from "../../../tests/vectors/cel.json";
import { lawText } from "../../src/domains/equipment/law";

const item = (id: string, more: Partial<CheckItem> = {}): CheckItem => ({
  id,
  title: { zh: id, en: id },
  type: "yes_no",
  dwell_s: 5,
  ...more,
});
const items = [item("a"), item("b", { type: "number", min: 2, max: null }), item("c")];
const view = (answers: unknown[]) => ({ id: "1", kind: "check.x", version: 1, status: "begun", answers });

test("the last answer of an item stands", () => {
  const answers = latest(
    view([
      { item: "a", verdict: "ok" },
      { item: "a", verdict: "bad" },
    ]),
  );
  expect(answers.get("a")?.verdict).toBe("bad");
  expect(tally(items, answers)).toEqual({ ok: 0, bad: 1, na: 0, left: 2 });
  expect(firstOpen(items, answers)).toBe(1);
});

test("all the rest is normal never answers a reading", () => {
  expect(restOf(items, latest(view([{ item: "a", verdict: "ok" }]))).map((one) => one.id)).toEqual(["c"]);
  expect(dwellLeft(items, new Map())).toBe(15);
});

test("an absent side of a limit is open", () => {
  expect(inside(item("b", { type: "number", min: 2, max: null }), 2)).toBe(true);
  expect(inside(item("b", { type: "number", min: 2, max: null }), 1.9)).toBe(false);
  expect(inside(item("b", { type: "number", min: null, max: 3 }), -100)).toBe(true);
  expect(inside(item("b", { type: "number" }), 7)).toBe(true);
});

test("the plant's limit stands over the list's figure, and a case has bounds of its own", () => {
  const speed = item("car.speed", {
    type: "number",
    min: 0,
    max: 10,
    conditions: [{ id: "under", title: { zh: "下", en: "U" }, min: 0, max: 5 }],
  });
  expect(boundsOf(speed, {})).toEqual({ min: 0, max: 10 });
  expect(boundsOf(speed, {}, "under")).toEqual({ min: 0, max: 5 });
  expect(boundsOf(speed, { "check.car.speed.max": 8, "check.car.speed.under.max": 3 })).toEqual({ min: 0, max: 8 });
  expect(boundsOf(speed, { "check.car.speed.under.max": 3 }, "under")).toEqual({ min: 0, max: 3 });
});

test("a figure that is only the list's placeholder is still owed by the plant", () => {
  const shell = item("ladle.shell_temp", { type: "number", min: null, max: 350, plant_sets_limit: true });
  expect(limitUnset(shell, {})).toBe(true);
  expect(limitUnset(shell, { "check.ladle.shell_temp.max": 350 })).toBe(true);
  expect(limitUnset(shell, { "check.ladle.shell_temp.max": 320 })).toBe(false);
  expect(limitUnset({ ...shell, plant_sets_limit: false }, {})).toBe(false);
});

test("the same items want a proof photo here and in the rules", () => {
  const listed = ["l.a", "l.b", "l.c"].map((id) => item(id));
  for (const check of ["c1", "c2"]) {
    const said = vectors.cases.find((one) => one.rule === `proof_items('${check}', 0.5)`) as { gives: unknown };
    expect([...proofsOf(listed, check, 0.5)]).toEqual(said.gives);
  }
  expect(restOf(listed, new Map(), proofsOf(listed, "c1", 1))).toEqual([]);
});

test("the order of a list is another in each check and the same in one", () => {
  const listed = [..."abcdefghijkl"].map((id) => item(id));
  const orders = ["1", "2", "3"].map((check) =>
    shuffled(listed, check)
      .map((one) => one.id)
      .join(""),
  );
  expect(new Set(orders).size).toBe(3);
  expect(orders[0]).toBe(
    shuffled([...listed].reverse(), "1")
      .map((one) => one.id)
      .join(""),
  );
  expect([...(orders[0] ?? "")].sort().join("")).toBe("abcdefghijkl");
});

test("a reading is said with its unit and its case, a choice by its title", () => {
  const speed = item("s", {
    type: "number",
    unit: "heat",
    conditions: [{ id: "under", title: { zh: "炉下", en: "Under" }, min: 0, max: 5 }],
  });
  expect(readingOf(speed, { item: "s", verdict: "bad", value: 7, condition: "under" })).toBe("7 炉 · 炉下");
  const gauge = item("g", { type: "choice", options: [{ value: "red", title: { zh: "红区", en: "Red" }, ok: false }] });
  expect(readingOf(gauge, { item: "g", verdict: "bad", choice: "red" })).toBe("红区");
  expect(unitName("m3/h")).toBe("m³/h");
});

test("the keypad never makes what is not a number", () => {
  const typed = (keys: string): string => [...keys].reduce((text, key) => typeDigit(text, key === "<" ? "del" : key), "");
  expect(typed("12.5")).toBe("12.5");
  expect(typed("1..5")).toBe("1.5");
  expect(typed(".5")).toBe("0.5");
  expect(typed("007")).toBe("7");
  expect(typed("1.23456")).toBe("1.234");
  expect(typed("12345678")).toBe("123456");
  expect(typed("3-")).toBe("-3");
  expect(typed("12<<<")).toBe("");
});

test("a machine gets the newest version of the lists made for its sort, and no others", () => {
  const kind = (name: string, version: number, types: string[]) => ({
    kind: name,
    version,
    title: { zh: "", en: "" },
    checklist: { equipment_types: Object.fromEntries(types.map((one) => [one, { zh: one, en: one }])), modes: [] },
  });
  const kinds = [
    kind("check.crane", 1, ["overhead_crane"]),
    kind("check.crane", 2, ["overhead_crane"]),
    kind("check.ladle", 1, ["steel_ladle"]),
    { ...kind("hazard", 1, []), checklist: undefined },
  ];
  expect(checkKindsFor(kinds, "overhead_crane").map((one) => [one.kind, one.version])).toEqual([["check.crane", 2]]);
  expect(checkKindsFor(kinds, "forklift")).toEqual([]);
});

test("a clause is written as Chinese law is cited", () => {
  const sources = { LAW: { zh: "特种设备安全法", en: "Special Equipment Safety Law" } };
  expect(lawText({ id: "LAW", clause: "art. 20(5)(6)" }, sources)).toBe("特种设备安全法 第20条（5）（6）");
  expect(lawText({ id: "LAW", clause: "molten-metal handling" }, sources)).toBe("特种设备安全法");
  expect(lawText({ id: "OTHER_ONE", clause: "art. 1" }, sources)).not.toContain("OTHER");
});

test("a night shift runs over midnight, in the plant's own zone", () => {
  const shifts = [
    { name: "day", start_min: 480, end_min: 1200 },
    { name: "night", start_min: 1200, end_min: 480 },
  ];
  const at = Date.UTC(2026, 10, 21, 18, 30); // 02:30 on the 22nd in the plant
  const shift = new Calendar(null, { zone_offset_min: 480, shifts }).shift(at);
  expect(shift?.names).toBe("night");
  expect(shift?.begins).toBe(Date.UTC(2026, 10, 21, 12));
  expect(shift?.ends).toBe(Date.UTC(2026, 10, 22, 0));
  expect(new Calendar(null, { zone_offset_min: 480, shifts: shifts.slice(0, 1) }).shift(at)).toBeNull();
});

test("a check too far from its machine is flagged, and a phone that is not sure enough says nothing", () => {
  const machine = { place: { lat: 31.4, lon: 121.45 } } as unknown as View;
  const at = { lat: 31.401, lon: 121.45, accuracy_m: 12 };
  const area = (radius_m?: number) => ({ place: { lat: 31.4, lon: 121.45, radius_m } }) as unknown as View;
  expect(awayFrom(machine, area(500), at, 50)).toBe(111);
  expect(awayFrom(machine, undefined, { ...at, accuracy_m: 51 }, 50)).toBeNull();
  // A machine without a place of its own is somewhere in its area.
  expect(awayFrom({} as View, area(100), at, 50)).toBe(11);
  expect(awayFrom({} as View, area(200), at, 50)).toBe(0);
  expect(awayFrom({} as View, area(), at, 50)).toBeNull();
  expect(awayFrom({} as View, undefined, at, 50)).toBeNull();
  expect(tooFar({ distance_m: 111 } as unknown as View, 50)).toBe(111);
  expect(tooFar({ distance_m: 50 } as unknown as View, 50)).toBeNull();
  expect(tooFar({ distance_m: 111 } as unknown as View, null)).toBeNull();
  expect(tooFar({ distance_m: null } as unknown as View, 50)).toBeNull();
});

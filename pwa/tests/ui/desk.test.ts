import { expect, test } from "vitest";
import type { KindFile, Me, View } from "../../src/app/types";
import { affectedBy, newest } from "../../src/desk/affects";
import { changes, late, type Line, statusBefore } from "../../src/desk/history";
import { nudged, placeAt, spotsOf, within } from "../../src/desk/plan";
import { dayOf, monday, monthOf, onDuty, rosterFor, week, written } from "../../src/desk/roster";
import { type Column, found, pressed, slice, sorted } from "../../src/desk/rows";
import { mine } from "../../src/desk/sections";
import { codeName, valueText } from "../../src/desk/values";
import { WORDS } from "../../src/desk/words";

interface Crane {
  number: string;
  area: string;
  hours: number | null;
}
const cranes: Crane[] = [
  { number: "QZ-10", area: "casting", hours: 5 },
  { number: "QZ-2", area: "Casting hall", hours: null },
  { number: "QZ-1", area: "gas", hours: 40 },
];
const columns: Column<Crane>[] = [
  { name: "number", title: "", text: (one) => one.number },
  { name: "area", title: "", text: (one) => one.area },
  { name: "hours", title: "", text: (one) => String(one.hours ?? ""), order: (one) => one.hours },
];
const numbers = (rows: Crane[]): string[] => rows.map((one) => one.number);

test("a search finds rows that hold every word, in whichever column and case", () => {
  expect(numbers(found(cranes, columns, "casting", [], {}))).toEqual(["QZ-10", "QZ-2"]);
  expect(numbers(found(cranes, columns, "CASTING qz-2", [], {}))).toEqual(["QZ-2"]);
  expect(found(cranes, columns, "  ", [], {})).toBe(cranes);
});

test("filters narrow together, and one over several values is met by any of them", () => {
  const filters = [
    { name: "area", title: "", options: [], of: (one: Crane) => one.area },
    { name: "digit", title: "", options: [], of: (one: Crane) => [...one.number] },
  ];
  expect(numbers(found(cranes, columns, "", filters, { digit: "1" }))).toEqual(["QZ-10", "QZ-1"]);
  expect(numbers(found(cranes, columns, "", filters, { digit: "1", area: "gas" }))).toEqual(["QZ-1"]);
  expect(numbers(found(cranes, columns, "10", filters, { area: "gas" }))).toEqual([]);
});

test("numbers in names sort as numbers, and what has none comes last either way", () => {
  expect(numbers(sorted(cranes, columns, { column: "number", down: false }))).toEqual(["QZ-1", "QZ-2", "QZ-10"]);
  expect(numbers(sorted(cranes, columns, { column: "hours", down: false }))).toEqual(["QZ-10", "QZ-1", "QZ-2"]);
  expect(numbers(sorted(cranes, columns, { column: "hours", down: true }))).toEqual(["QZ-1", "QZ-10", "QZ-2"]);
});

test("a second press on a column turns its order round, another column begins upwards", () => {
  const first = pressed(null, "area");
  expect(first).toEqual({ column: "area", down: false });
  expect(pressed(first, "area")).toEqual({ column: "area", down: true });
  expect(pressed({ column: "area", down: true }, "number")).toEqual({ column: "number", down: false });
});

test("of ten thousand rows those on screen are drawn, and never past either end", () => {
  const part = slice(10_000, 49 * 500, 700, 49);
  expect(part.from).toBeLessThanOrEqual(500);
  expect(part.to).toBeGreaterThanOrEqual(515);
  expect(part.to - part.from).toBeLessThan(40);
  expect(slice(10_000, 0, 700, 49).from).toBe(0);
  expect(slice(3, 0, 700, 49)).toEqual({ from: 0, to: 3 });
  expect(slice(3, 49 * 900, 700, 49).to).toBe(3);
});

const plan = (spots: unknown[]): View => ({ id: "1", kind: "plan", version: 1, status: "in_use", spots });

test("the last place given for an area is where it stands on the plan", () => {
  const spots = spotsOf(
    plan([
      { area: "a", x: 0.1, y: 0.1 },
      { area: "b", x: 0.2, y: 0.2 },
      { area: "a", x: 0.3, y: 0.4 },
    ]),
  );
  expect(spots.get("a")).toEqual({ area: "a", x: 0.3, y: 0.4 });
  expect(spots.size).toBe(2);
  expect(spotsOf(undefined).size).toBe(0);
});

test("nothing is put outside the plan, by mouse or by key", () => {
  expect(placeAt({ left: 100, top: 50, width: 800, height: 400 }, 500, 150)).toEqual({ x: 0.5, y: 0.25 });
  expect(placeAt({ left: 100, top: 50, width: 800, height: 400 }, 5_000, 0)).toEqual({ x: 1, y: 0 });
  expect(nudged({ area: "a", x: 0.5, y: 0.5 }, "ArrowLeft")).toEqual({ area: "a", x: 0.49, y: 0.5 });
  expect(nudged({ area: "a", x: 1, y: 0 }, "ArrowRight")?.x).toBe(1);
  expect(nudged({ area: "a", x: 1, y: 0 }, "Enter")).toBeNull();
  expect(within(0.123456)).toBe(0.123);
});

const roster = (id: string, more: Partial<View>): View => ({
  id,
  kind: "roster",
  version: 1,
  status: "in_use",
  area: null,
  role: "safety",
  from: "2026-11-01",
  until: "2026-11-30",
  duties: [],
  ...more,
});

test("a week begins on Monday, over the end of a month and of a year", () => {
  expect(week(monday(dayOf("2026-11-22")))).toEqual(week(dayOf("2026-11-16")));
  expect(week(monday(dayOf("2027-01-01")))[0]).toBe("2026-12-28");
  expect(written(monday(dayOf("2026-11-23")))).toBe("2026-11-23");
  expect(monthOf("2028-02-10")).toEqual({ from: "2028-02-01", until: "2028-02-29" });
});

test("of two lines for a cell the last counts, of two rosters the one begun last", () => {
  const line = (persons: string[]) => ({ date: "2026-11-18", shift: "day", persons });
  const first = roster("01", { duties: [line(["a"]), line(["b"])] });
  const second = roster("02", { duties: [line(["c", "d"])] });
  const other = roster("03", { area: "gas", duties: [line(["e"])] });
  const emptied = roster("04", { duties: [line(["a"]), line([])] });
  expect(onDuty([first], null, "safety", "2026-11-18", "day")).toEqual(["b"]);
  expect(onDuty([second, first, other], null, "safety", "2026-11-18", "day")).toEqual(["c", "d"]);
  expect(onDuty([second, first, other], "gas", "safety", "2026-11-18", "day")).toEqual(["e"]);
  expect(onDuty([first], null, "safety", "2026-11-18", "night")).toEqual([]);
  expect(onDuty([first, emptied], null, "safety", "2026-11-18", "day")).toEqual([]);
  expect(rosterFor([second, first, other], null, "safety", "2026-11-18")).toBe(second);
  expect(rosterFor([first, second, other], null, "safety", "2026-12-01")).toBeUndefined();
});

const line = (seq: number, more: Partial<Line>): Line => ({
  seq,
  what: "op",
  arrived: 1_000,
  op: "x",
  number: 1,
  device: 1,
  device_label: "",
  author: "a",
  anonymous: false,
  claimed: 1_000,
  ordered: 1_000,
  marks: [],
  verb: "set",
  name: null,
  state: "ok",
  code: null,
  params: {},
  status: null,
  fields: {},
  items: {},
  said: {},
  ...more,
});

test("a history tells from what to what, and says so where it cannot know", () => {
  const lines = [
    line(3, { fields: { value: 60, unit: "m" }, status: "in_force" }),
    line(2, { status: "proposed" }),
    line(1, { fields: { value: 50, unit: "m" }, status: "in_force" }),
  ];
  expect(changes(lines, 0, false)).toEqual([{ field: "value", before: 50, after: 60, unknown: false }]);
  expect(changes(lines.slice(0, 2), 0, true).map((one) => [one.field, one.unknown])).toEqual([
    ["value", true],
    ["unit", true],
  ]);
  expect(changes(lines.slice(0, 2), 0, false)[0]?.before).toBeNull();
  expect(changes([line(1, { fields: { open_faults: [], note: null, area: "a" } })], 0, false).map((one) => one.field)).toEqual(["area"]);
  expect(statusBefore(lines, 0)).toBe("proposed");
  expect(statusBefore(lines, 2)).toBeUndefined();
});

test("what stands in the ledger by a code is read by its name, and what is none stays as it is", () => {
  const shifts = [{ key: "day", name: { zh: "白班", en: "Day" } }];
  const rosters: KindFile = { kind: "roster", version: 1, title };
  expect(codeName(rosters, "shift", "day", shifts)).toBe("白班");
  expect(codeName(rosters, "shift", "late", shifts)).toBeNull();
  expect(codeName(rosters, "date", "day", shifts)).toBeNull();
  expect(codeName(list, "item", "overhead_crane.clearance", [])).toBe("间隙");
  expect(codeName(list, "note", "overhead_crane.clearance", [])).toBeNull();
  expect(codeName(undefined, "item", "x", [])).toBeNull();
  expect(valueText({ type: "duration" }, 12_400, 0)).toBe("12 秒");
  expect(valueText({ type: "map", item: { type: "number" } }, { lat: 31.4, lon: 121.4, radius_m: 80 }, 0)).toBe("31.4, 121.4 · 80 m");
});

test("what came late says by how much, what came at once says nothing", () => {
  expect(late(line(1, { claimed: 0, arrived: 7_200_000 }))).toBe(7_200_000);
  expect(late(line(1, { claimed: 60_000, arrived: 0 }))).toBe(-60_000);
  expect(late(line(1, { claimed: 1_000, arrived: 2_500 }))).toBeNull();
  expect(late(line(1, { claimed: null }))).toBeNull();
});

const title = { zh: "表", en: "List" };
const list: KindFile = {
  kind: "check.overhead_crane",
  version: 2,
  title,
  items: [{ id: "overhead_crane.clearance", title: { zh: "间隙", en: "Clearance" }, type: "number" }],
  checklist: { equipment_types: { overhead_crane: title }, modes: [] },
};
const permit: KindFile = {
  kind: "permit",
  version: 1,
  title,
  transitions: { start: { title: { zh: "开始", en: "Start" }, needs: [{ rule: 'doc.co <= limit("co.max_ppm")', else: "x" }] } },
};
const machine = (type: string, status: string): View => ({ id: type + status, kind: "machine", version: 1, status, type });

test("a limit names the item whose bound it is, and the machines that the list is for", () => {
  const machines = [machine("overhead_crane", "running"), machine("overhead_crane", "scrapped"), machine("converter", "running")];
  const old = { ...list, version: 1, items: [] };
  expect(affectedBy("check.overhead_crane.clearance.min", [old, list, permit], machines)).toEqual([
    { kind: "check.overhead_crane", title, what: { zh: "间隙", en: "Clearance" }, machines: 1 },
  ]);
  expect(affectedBy("check.overhead_crane.clearance.cold.max", [list], machines)).toHaveLength(1);
  expect(affectedBy("check.overhead_crane.clear.min", [list], machines)).toEqual([]);
  expect(newest([list, old])).toEqual([list]);
});

test("a limit names the step whose rule reads it", () => {
  expect(affectedBy("co.max_ppm", [list, permit], [])).toEqual([
    { kind: "permit", title, what: { zh: "开始", en: "Start" }, machines: null },
  ]);
});

test("the desk is for whoever manages something somewhere, and shows nobody what is not theirs", () => {
  const me = (caps: Record<string, string[]>): Me => ({ id: "1", names: title, device: 1, caps, has: () => false });
  expect(mine(null)).toEqual([]);
  expect(mine(me({ report: ["*"], check: ["*"] }))).toEqual([]);
  const supervisor = mine(me({ supervise: ["a"] })).map((one) => one.name);
  expect(supervisor).toContain("roster");
  expect(supervisor).toContain("import"); // of the roster, and of nothing else
  for (const name of ["devices", "ledger", "tags"]) expect(supervisor).not.toContain(name);
  expect(mine(me({ manage_people: ["*"], manage_equipment: ["*"], read_all: ["*"] }))).toHaveLength(10);
});

test("a text of the desk asks for the same in both languages, and neither stands in the other's", () => {
  const asked = (text: string): string[] => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((one) => one[1] ?? ""))].sort();
  for (const [word, { zh, en }] of Object.entries(WORDS)) {
    // English says "1 row" without asking for the number.
    expect([word, asked(en)]).toEqual([word, asked(zh)]);
    expect([word, /[\u4e00-\u9fff]/.test(en)]).toEqual([word, false]);
    expect([word, /[\u4e00-\u9fff]/.test(zh) || !/[A-Za-z]{3,}/.test(zh.replace(/\{\w+\}/g, ""))]).toEqual([word, true]);
  }
});

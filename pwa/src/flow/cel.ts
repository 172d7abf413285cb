// Runs rules: the only module that touches the CEL engine. Twin of backend/flow/cel.py. Heavy: the app loads it after the first paint.
import "./oldest";
import { Environment } from "@marcbachmann/cel-js";
import { derived, spawned } from "../sync/ids";
import { hasOwn } from "../sync/op";
import { type Calendar, onDuty, type Rosters, Unknown, WINDOW_MIN_MAX, written } from "./calendar";
import { BARE, checkPattern, read, type Scope, type Text } from "./celtext";

const MATCHED_CHARS_MAX = 1_000;
const EARTH_RADIUS_M = 6_371_008.8;
const DAY_MS = 86_400_000;

/** A rule gave no answer. `why` is a word for whoever mends the rule. */
export class RuleFailed extends Error {
  constructor(
    readonly code = "flow.rule_failed",
    readonly why = "",
    readonly params: Record<string, unknown> = {},
  ) {
    super(`${code} ${why}`);
  }
}

/** What functions ask besides their arguments. */
export interface Surroundings {
  /** Whether the actor holds a capability in an area, or on the whole plant where the area is null. */
  has(cap: string, area: string | null): boolean;
  anywhere(cap: string): boolean;
  limits: Readonly<Record<string, number>>;
  items: ReadonlyMap<string, Record<string, unknown>>;
  opId: string;
  calendar: Calendar;
  rosters: Rosters;
}

type Get = (root: string, name: string) => unknown;

/** A compiled rule. */
export class Program {
  readonly text: Text;
  private readonly execute: (names: Record<string, unknown>) => unknown;

  /** Throws CelSyntax. */
  constructor(source: string, scope: Scope) {
    this.text = read(source, scope);
    this.execute = ENGINE.parse(this.text.text);
  }

  /** The rule's value, plain. `get(root, name)` gives what it reads. Throws RuleFailed. */
  run(get: Get, around: Surroundings): unknown {
    const bound: Record<string, unknown> = {};
    for (const { root, name, fields } of this.text.refs) {
      if (BARE.has(root)) {
        bound[root] = doubles(get(root, ""));
        continue;
      }
      let value = get(root, name);
      if (fields.length && isMap(value)) {
        const whole = value;
        value = Object.fromEntries(fields.filter((field) => hasOwn(whole, field)).map((field) => [field, whole[field]]));
      }
      bound[`${root}__${name}`] = doubles(value);
    }
    const running: Running = { around, failed: null };
    RUNNING.push(running);
    let value: unknown;
    try {
      value = this.execute(bound);
    } catch {
      throw running.failed ?? new RuleFailed("flow.rule_failed", "type");
    } finally {
      RUNNING.pop();
    }
    if (running.failed) throw running.failed;
    return plain(value);
  }
}

interface Running {
  around: Surroundings;
  failed: RuleFailed | null;
}

// The engine calls functions with their arguments only. Rules never wait.
const RUNNING: Running[] = [];

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What the engine is given of a value: JSON, with null for what is absent. */
function doubles(value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === "boolean" || typeof value === "string" || typeof value === "number") return value;
  if (Array.isArray(value)) return value.map(doubles);
  if (isMap(value)) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, doubles(one)]));
  throw failed("type");
}

/** A result as JSON has it: names in order, nothing that is not finite. */
function plain(value: unknown): unknown {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw failed("number");
    return value === 0 ? 0 : value;
  }
  if (Array.isArray(value)) return value.map(plain);
  const entries = value instanceof Map ? [...value] : isMap(value) ? Object.entries(value) : null;
  if (!entries) throw failed("type");
  return Object.fromEntries(entries.sort(([a], [b]) => order(a, b)).map(([name, one]) => [name, plain(one)]));
}

// --- functions: each checks its arguments; the twin gives the same answers and the same words

function failed(why: string): RuleFailed {
  return new RuleFailed("flow.rule_failed", why);
}

function num(value: unknown): number {
  if (typeof value !== "number") throw failed("type");
  return value;
}

function finite(value: number): number {
  if (!Number.isFinite(value)) throw failed("number");
  return value;
}

function str(value: unknown): string {
  if (typeof value !== "string") throw failed("type");
  return value;
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw failed("type");
  return value;
}

function bool(value: unknown): boolean {
  if (typeof value !== "boolean") throw failed("type");
  return value;
}

/** By code points, as Python orders texts; JavaScript's `<` goes by halves of them. */
export function order(a: string, b: string): number {
  const left = [...a];
  const right = [...b];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const by = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
    if (by) return by;
  }
  return left.length - right.length;
}

function add(a: unknown, b: unknown): unknown {
  if (typeof a === "string" && typeof b === "string") return a + b;
  if (Array.isArray(a) && Array.isArray(b)) return [...a, ...b];
  return finite(num(a) + num(b));
}

function divisor(a: unknown, b: unknown): number {
  const by = num(b);
  num(a);
  if (by === 0) throw failed("division");
  return by;
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === "string" && typeof b === "string") return order(a, b);
  return num(a) - num(b);
}

function same(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, i) => same(one, b[i]));
  if (isMap(a) && isMap(b)) {
    const names = Object.keys(a);
    return names.length === Object.keys(b).length && names.every((name) => hasOwn(b, name) && same(a[name], b[name]));
  }
  return a === b;
}

function at(a: unknown, index: unknown): unknown {
  if (Array.isArray(a)) {
    const number = num(index);
    if (!Number.isInteger(number) || number < 0 || number >= a.length) throw failed("index");
    return a[number];
  }
  if (isMap(a)) {
    const name = str(index);
    if (!hasOwn(a, name)) throw failed("index");
    return a[name];
  }
  throw failed("type");
}

function has(a: unknown, name: unknown): boolean {
  if (a === null) return false;
  if (!isMap(a)) throw failed("type");
  return hasOwn(a, name as string) && a[name as string] !== null;
}

function size(a: unknown): number {
  if (typeof a === "string") return [...a].length;
  if (Array.isArray(a)) return a.length;
  if (isMap(a)) return Object.keys(a).length;
  throw failed("type");
}

const PATTERNS = new Map<string, RegExp>();

function matches(a: unknown, pattern: unknown): boolean {
  const text = str(a);
  if ([...text].length > MATCHED_CHARS_MAX) throw failed("long");
  const source = str(pattern);
  let found = PATTERNS.get(source);
  if (!found) {
    found = new RegExp(checkPattern(source), "u");
    PATTERNS.set(source, found);
  }
  return found.test(text);
}

function around(): Surroundings {
  return (RUNNING[RUNNING.length - 1] as Running).around;
}

/** Asks the calendar, whose ignorance is a rule's failure. */
function told(ask: (calendar: Calendar, ...args: unknown[]) => unknown): Function {
  return (...args) => {
    try {
      return doubles(ask(around().calendar, ...args));
    } catch (error) {
      if (error instanceof Unknown) throw new RuleFailed(error.code, error.why, error.params);
      throw error;
    }
  };
}

/** The shift that a moment falls into; null between shifts. */
function shiftOf(calendar: Calendar, ms: unknown): unknown {
  const found = calendar.shift(num(ms));
  return found && { shift: found.name, name: found.names, date: written(found.day), begins_at: found.begins, ends_at: found.ends };
}

function nextWindow(calendar: Calendar, windows: unknown, days: unknown, after: unknown, now: unknown): unknown {
  const spans = list(windows ?? []);
  for (const span of spans) {
    if (!isMap(span)) throw failed("type");
    for (const edge of ["from_min", "until_min"]) {
      const at = span[edge] ?? null;
      if (at !== null && !(num(at) >= 0 && num(at) <= WINDOW_MIN_MAX)) throw failed("window");
    }
  }
  return calendar.nextWindow(spans as Record<string, unknown>[], days, after === null ? null : num(after), num(now));
}

function limit(key: unknown): number {
  const name = str(key);
  const { limits } = around();
  if (!hasOwn(limits, name)) throw new RuleFailed("flow.limit_unknown", "", { limit: name });
  return num(limits[name]);
}

/** Great-circle distance in metres, to the decimetre; null where either place is unknown or sealed. */
function distanceM(a: unknown, b: unknown): number | null {
  const known = (place: unknown): place is Record<string, unknown> => isMap(place) && (place.lat ?? null) !== null;
  if (!known(a) || !known(b)) {
    for (const place of [a, b]) if (place !== null && !isMap(place)) throw failed("type");
    return null;
  }
  const [lat1, lon1, lat2, lon2] = [a.lat, a.lon, b.lat, b.lon].map((degrees) => (num(degrees) * Math.PI) / 180) as [
    number,
    number,
    number,
    number,
  ];
  const h = Math.sin((lat2 - lat1) / 2) ** 2 + Math.cos(lat1) * Math.cos(lat2) * Math.sin((lon2 - lon1) / 2) ** 2;
  return Math.floor(2 * EARTH_RADIUS_M * Math.asin(Math.sqrt(Math.min(1, h))) * 10 + 0.5) / 10;
}

/** Of the items that name the same thing in `field`, the last; ordered by that name. */
function latest(items: unknown, field: unknown): unknown[] {
  const found = new Map<string, unknown>();
  for (const item of list(items)) {
    const name = str(field);
    if (!isMap(item) || !hasOwn(item, name)) throw failed("type");
    found.set(str(item[name]), item);
  }
  return [...found].sort(([a], [b]) => order(a, b)).map(([, item]) => item);
}

/** The datum of a check list's item. What the item does not say is null. */
function checkItem(name: unknown): unknown {
  const found = around().items.get(str(name));
  if (!found) throw new RuleFailed("flow.item_unknown", "", { item: name });
  return doubles(found);
}

/** One entry of a check list's item. */
function item(name: unknown, entry: unknown): unknown {
  const found = around().items.get(str(name));
  if (!found) throw new RuleFailed("flow.item_unknown", "", { item: name });
  if (!hasOwn(found, entry as string)) throw failed("type");
  return doubles(found[entry as string]);
}

/** The sum of a number that items may have. */
function sum(items: unknown, field: unknown): number {
  let total = 0;
  for (const item of list(items)) {
    if (!isMap(item)) throw failed("type");
    const name = str(field);
    const value = hasOwn(item, name) ? item[name] : null;
    total += value === null ? 0 : num(value);
  }
  return finite(total);
}

/** Ids of the check list's items that no answer names, in the list's order. */
function openItems(answers: unknown): string[] {
  const answered = new Set(list(answers).map((answer) => (isMap(answer) ? answer.item : undefined)));
  return [...around().items.keys()].filter((name) => !answered.has(name));
}

const PROOF_DRAWS = 2 ** 32;

/** Ids of the items that want a photo though they are normal. */
function proofItems(check: unknown, ratio: unknown): string[] {
  const share = num(ratio) * PROOF_DRAWS;
  return [...around().items.keys()].filter((name) => Number.parseInt(derived(`proof:${str(check)}:${name}`).slice(0, 8), 16) < share);
}

type Function = (...args: unknown[]) => unknown;

const times =
  (factor: number): Function =>
  (a) =>
    finite(num(a) * factor);

const FUNCTIONS: Record<string, [args: number, call: Function]> = {
  add: [2, add],
  sub: [2, (a, b) => finite(num(a) - num(b))],
  mul: [2, (a, b) => finite(num(a) * num(b))],
  div: [2, (a, b) => finite(num(a) / divisor(a, b))],
  mod: [2, (a, b) => num(a) % divisor(a, b)],
  neg: [1, (a) => -num(a)],
  lt: [2, (a, b) => compare(a, b) < 0],
  le: [2, (a, b) => compare(a, b) <= 0],
  gt: [2, (a, b) => compare(a, b) > 0],
  ge: [2, (a, b) => compare(a, b) >= 0],
  in: [2, (a, b) => (isMap(b) ? hasOwn(b, str(a)) : list(b).some((one) => same(a, one)))],
  at: [2, at],
  has: [2, has],
  any: [1, (a) => a],
  bool: [1, bool],
  list: [1, list],
  map: [1, (parts) => Object.fromEntries(list(parts).flatMap((key, i, all) => (i % 2 ? [] : [[key, all[i + 1]]])))],
  may: [2, (cap, area) => around().has(str(cap), area === null ? null : str(area))],
  may_anywhere: [1, (cap) => around().anywhere(str(cap))],
  size: [1, size],
  matches: [2, matches],
  startsWith: [2, (a, b) => str(a).startsWith(str(b))],
  endsWith: [2, (a, b) => str(a).endsWith(str(b))],
  contains: [2, (a, b) => str(a).includes(str(b))],
  min: [2, (a, b) => Math.min(num(a), num(b))],
  max: [2, (a, b) => Math.max(num(a), num(b))],
  abs: [1, (a) => Math.abs(num(a))],
  floor: [1, (a) => Math.floor(num(a))],
  ceil: [1, (a) => Math.ceil(num(a))],
  round: [1, (a) => Math.floor(finite(num(a) + 0.5))],
  seconds: [1, times(1_000)],
  minutes: [1, times(60_000)],
  hours: [1, times(3_600_000)],
  days: [1, times(DAY_MS)],
  day_start: [1, told((calendar, ms) => calendar.dayStart(num(ms)))],
  minute_of_day: [1, told((calendar, ms) => calendar.minuteOfDay(num(ms)))],
  shift_start: [1, told((calendar, ms) => calendar.workingShift(num(ms)).begins)],
  shift_end: [1, told((calendar, ms) => calendar.workingShift(num(ms)).ends)],
  shift_of: [1, told(shiftOf)],
  is_night: [1, told((calendar, ms) => calendar.isNight(num(ms)))],
  is_rest_day: [1, told((calendar, ms) => calendar.isRestDay(num(ms)))],
  is_holiday: [1, told((calendar, ms) => calendar.isHoliday(num(ms)))],
  next_window: [4, told(nextWindow)],
  on_duty: [
    3,
    told((calendar, role, area, ms) => onDuty(around().rosters, calendar, str(role), area === null ? null : str(area), num(ms))),
  ],
  limit: [1, limit],
  distance_m: [2, distanceM],
  latest: [2, latest],
  sum: [2, sum],
  check_item: [1, checkItem],
  item: [2, item],
  check_items: [0, () => [...around().items.values()].map(doubles)],
  open_items: [1, openItems],
  proof_items: [2, proofItems],
  spawned: [1, (name) => spawned(around().opId, str(name))],
};

/** Keeps the first failure and goes on with null, as the twin must. */
function caught(call: Function): Function {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      if (!(error instanceof RuleFailed)) throw error;
      const running = RUNNING[RUNNING.length - 1] as Running;
      running.failed ??= error;
      return null;
    }
  };
}

const ENGINE = new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false });
for (const [name, [args, call]] of Object.entries(FUNCTIONS)) {
  ENGINE.registerFunction(`_${name}(${Array(args).fill("dyn").join(", ")}): dyn`, caught(call));
}

// May these values stand in these fields? Pure. Twin of backend/flow/form.py.
import { hasOwn } from "../sync/op";
import type { Field, Fields } from "./kind";

const TEXT_CHARS_MAX = 2_000;
const CHOICES_MAX = 100;
const ROWS_MAX = 200;
/** The last millisecond of the year 9999. */
const TIME_MAX = 253_402_300_799_999;
const NUMBER_MAX = Number.MAX_SAFE_INTEGER;
const DEPTH_MAX = 12;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const KEY = /^(?:[a-z][a-z0-9_.]{0,63}\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|parked\/[0-9a-f]{64})$/;
const HASH = /^[0-9a-f]{64}$/;
const DATE = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/;
const PLACE = ["lat", "lon", "accuracy_m", "source", "phone_at", "at"];
const MEDIA_TYPE = /^(?:image|audio|video)\/[a-z0-9.+-]{1,40}$/;
const BLANK = /^[ \t\r\n\u3000]*$/;

/** A value that may not stand. `field` is the path in the form, such as `points.2.value`. */
export interface Wrong {
  field: string;
  code: string;
  params: Record<string, unknown>;
}

type Values = Readonly<Record<string, unknown>>;
type Map_ = Record<string, unknown>;
/** Whether a field is asked for at all. */
export type Shown = (name: string, field: Field) => boolean;
/** Judges the rules in a field's `check` over its value: given by whoever can run rules. */
export type Check = (name: string, field: Field, value: unknown) => Wrong | null;

/** What is wrong with these values. `whole`: all of a form, so what is required must be there; else only what is given is judged. */
export function validate(fields: Fields, values: Values, by: { whole: boolean; shown: Shown; check: Check }): Wrong[] {
  const found: Wrong[] = [];
  for (const name of Object.keys(values).sort(byCodePoint)) {
    if (!hasOwn(fields, name)) found.push(wrong(name, "flow.field_unknown"));
  }
  for (const [name, field] of Object.entries(fields)) {
    const given = hasOwn(values, name);
    const value = given ? (values[name] ?? null) : null;
    if (value === null || (field.required && isEmpty(value))) {
      if (field.required && (by.whole || given) && by.shown(name, field)) found.push(wrong(name, "flow.field_required"));
      continue;
    }
    let bad = wrongValue(name, field, value);
    if (!bad && field.check?.length && !isSealed(value)) bad = by.check(name, field, value);
    if (bad) found.push(bad);
  }
  return found;
}

/** What is wrong with one value that is not null, its rules aside. */
export function wrongValue(name: string, field: Field, value: unknown): Wrong | null {
  if (isSealed(value)) return field.personal ? null : typeWrong(name, field);
  return TYPES[field.type](name, field, value);
}

/** Whether this stands for a personal value. */
export function isSealed(value: unknown): boolean {
  return isMap(value) && Object.keys(value).length === 1 && isHash(value.sealed);
}

/** The sha256 of every photo, voice or signature that these values name, in order, each once. */
export function mediaOf(fields: Fields, values: Values): string[] {
  const found = new Set<string>();
  const look = (field: Field, value: unknown): void => {
    if (field.type === "media" || field.type === "signature") {
      if (isMap(value) && typeof value.sha256 === "string") found.add(value.sha256);
    } else if (field.type === "list" && field.item && Array.isArray(value)) {
      for (const entry of value) look(field.item, entry);
    } else if (field.type === "table" && Array.isArray(value)) {
      for (const row of value) for (const [name, column] of Object.entries(field.columns ?? {})) look(column, (row as Map_)[name]);
    }
  };
  for (const [name, field] of Object.entries(fields)) look(field, values[name]);
  return [...found];
}

function isEmpty(value: unknown): boolean {
  return (Array.isArray(value) && value.length === 0) || (typeof value === "string" && BLANK.test(value));
}

/** The order that Python gives texts. */
function byCodePoint(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const by = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
    if (by) return by;
  }
  return left.length - right.length;
}

function wrong(name: string, code: string, params: Record<string, unknown> = {}): Wrong {
  return { field: name, code, params: { field: name, ...params } };
}

function typeWrong(name: string, field: Field): Wrong {
  return wrong(name, "flow.field_type", { type: field.type });
}

function bounds(name: string, field: Field, amount: number): Wrong | null {
  if (isSet(field.min) && amount < field.min) return wrong(name, "flow.field_min", { min: field.min, unit: field.unit ?? "" });
  if (isSet(field.max) && amount > field.max) return wrong(name, "flow.field_max", { max: field.max, unit: field.unit ?? "" });
  return null;
}

function count(name: string, field: Field, amount: number, most: number): Wrong | null {
  if (isSet(field.min) && amount < field.min) return wrong(name, "flow.field_few", { min: field.min });
  const max = isSet(field.max) ? Math.trunc(field.max) : most;
  return amount > max ? wrong(name, "flow.field_many", { max }) : null;
}

function isSet(bound: number | null | undefined): bound is number {
  return bound !== null && bound !== undefined;
}

function isMap(value: unknown): value is Map_ {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && Math.abs(value) <= NUMBER_MAX;
}

function isHash(value: unknown): boolean {
  return typeof value === "string" && HASH.test(value);
}

function isTime(value: unknown): value is number {
  return isNumber(value) && Number.isInteger(value) && value >= 0 && value <= TIME_MAX;
}

function isText(value: unknown, most: number): value is string {
  return typeof value === "string" && [...value].length <= most;
}

function isDate(value: unknown): boolean {
  const parts = typeof value === "string" ? DATE.exec(value) : null;
  if (!parts) return false;
  const [year, month, day] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
  return year >= 1 && days !== undefined && day >= 1 && day <= days;
}

function refers(field: Field, value: unknown): boolean {
  return typeof value === "string" && (field.of === "*" ? KEY : UUID).test(value);
}

function offers(field: Field, value: string): boolean {
  return typeof field.of === "object" && field.of !== null && hasOwn(field.of, value);
}

function isPlace(value: unknown): boolean {
  return (
    isMap(value) &&
    PLACE.every((name) => hasOwn(value, name)) &&
    Object.keys(value).every((name) => name === "tag" || PLACE.includes(name)) &&
    isNumber(value.lat) &&
    Math.abs(value.lat) <= 90 &&
    isNumber(value.lon) &&
    Math.abs(value.lon) <= 180 &&
    isNumber(value.accuracy_m) &&
    value.accuracy_m >= 0 &&
    (value.source === "gps" || value.source === "tag") &&
    (!hasOwn(value, "tag") || isText(value.tag, 32)) &&
    isTime(value.phone_at) &&
    isTime(value.at)
  );
}

function isMedia(value: unknown): boolean {
  return (
    isMap(value) &&
    ["sha256", "type", "size"].every((name) => hasOwn(value, name)) &&
    Object.keys(value).every((name) => ["sha256", "type", "size", "w", "h"].includes(name)) &&
    isHash(value.sha256) &&
    typeof value.type === "string" &&
    MEDIA_TYPE.test(value.type) &&
    ["size", "w", "h"].every((name) => {
      const amount = hasOwn(value, name) ? value[name] : 1;
      return isNumber(amount) && Number.isInteger(amount) && amount > 0;
    })
  );
}

function isLabel(value: unknown): boolean {
  return (
    isMap(value) &&
    Object.keys(value).sort().join() === "en,zh" &&
    isText(value.zh, 200) &&
    isText(value.en, 200) &&
    Boolean(value.zh || value.en)
  );
}

function isJson(value: unknown, depth = 0): boolean {
  if (depth > DEPTH_MAX) return false;
  if (value === null || typeof value === "boolean" || typeof value === "string") return true;
  if (typeof value === "number") return isNumber(value);
  if (Array.isArray(value)) return value.every((one) => isJson(one, depth + 1));
  return isMap(value) && Object.values(value).every((one) => isJson(one, depth + 1));
}

type Judge = (name: string, field: Field, value: unknown) => Wrong | null;
const when =
  (good: (value: unknown) => boolean): Judge =>
  (name, field, value) =>
    good(value) ? null : typeWrong(name, field);

function number(name: string, field: Field, value: unknown): Wrong | null {
  if (!isNumber(value)) return typeWrong(name, field);
  const bad = bounds(name, field, value);
  if (bad || !isSet(field.step)) return bad;
  const steps = (value - (field.min ?? 0)) / field.step;
  // 0.3 is not three times 0.1 in binary: a millionth of a step is none.
  return Math.abs(steps - Math.floor(steps + 0.5)) > 1e-6 ? wrong(name, "flow.field_step", { step: field.step }) : null;
}

function texts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string") && new Set(value).size === value.length;
}

function table(name: string, field: Field, value: unknown): Wrong | null {
  if (!Array.isArray(value) || !value.every(isMap)) return typeWrong(name, field);
  const bad = count(name, field, value.length, ROWS_MAX);
  if (bad) return bad;
  const columns = field.columns ?? {};
  for (const [n, row] of value.entries()) {
    for (const unknown of Object.keys(row).sort(byCodePoint)) {
      if (!hasOwn(columns, unknown)) return wrong(`${name}.${n}.${unknown}`, "flow.field_unknown");
    }
    for (const [column, spec] of Object.entries(columns)) {
      const path = `${name}.${n}.${column}`;
      const cell = hasOwn(row, column) ? (row[column] ?? null) : null;
      const bad = cell === null ? (spec.required ? wrong(path, "flow.field_required") : null) : wrongValue(path, spec, cell);
      if (bad) return bad;
    }
  }
  return null;
}

function entries(name: string, field: Field, found: [key: string | number, value: unknown][]): Wrong | null {
  const bad = count(name, field, found.length, ROWS_MAX);
  if (bad) return bad;
  for (const [key, value] of found) {
    if (!field.item) {
      if (!isJson(value)) return typeWrong(name, field);
    } else {
      const path = `${name}.${key}`;
      const bad = value === null || value === undefined ? wrong(path, "flow.field_required") : wrongValue(path, field.item, value);
      if (bad) return bad;
    }
  }
  return null;
}

const time: Judge = (name, field, value) => (isTime(value) ? bounds(name, field, value) : typeWrong(name, field));

const TYPES: Record<Field["type"], Judge> = {
  text: (name, field, value) =>
    typeof value === "string" ? count(name, field, [...value].length, TEXT_CHARS_MAX) : typeWrong(name, field),
  number,
  yes_no: when((value) => typeof value === "boolean"),
  choice: (name, field, value) =>
    typeof value !== "string" ? typeWrong(name, field) : offers(field, value) ? null : wrong(name, "flow.field_choice"),
  choices: (name, field, value) => {
    if (!texts(value)) return typeWrong(name, field);
    if (!value.every((one) => offers(field, one)) || typeof field.of !== "object") return wrong(name, "flow.field_choice");
    return count(name, field, value.length, CHOICES_MAX);
  },
  time,
  duration: time,
  date: when(isDate),
  ref: (name, field, value) => (refers(field, value) ? null : typeWrong(name, field)),
  refs: (name, field, value) =>
    texts(value) && value.every((one) => refers(field, one)) ? count(name, field, value.length, CHOICES_MAX) : typeWrong(name, field),
  place: when(isPlace),
  media: when(isMedia),
  signature: when(isMedia),
  scan: when((value) => isText(value, 64) && value !== ""),
  label: when(isLabel),
  table,
  list: (name, field, value) => (Array.isArray(value) ? entries(name, field, [...value.entries()]) : typeWrong(name, field)),
  map: (name, field, value) =>
    isMap(value)
      ? entries(
          name,
          field,
          Object.entries(value).sort(([a], [b]) => byCodePoint(a, b)),
        )
      : typeWrong(name, field),
  section: typeWrong,
};

// What a form does with any kind's fields: which are asked, what they start with, what is missing.
import { type FieldSpec, fieldsOf, type TransitionSpec, transitionsOf } from "../kinds";
import type { KindFile, Label, View } from "../types";

/** As in the twins of flow/form. */
const TEXT_CHARS_MAX = 2_000;

export type Values = Record<string, unknown>;

/** What is asked for a new document: its fields, but those that `new` sets by itself and those that only later steps may write. */
export function newFields(kind: KindFile | undefined): Record<string, FieldSpec> {
  const set = new Set(Object.keys((kind?.new as { set?: Record<string, unknown> } | undefined)?.set ?? {}));
  return Object.fromEntries(
    Object.entries(fieldsOf(kind)).filter(
      ([name, spec]) => !set.has(name) && spec.type !== "map" && (!spec.only_by?.length || spec.only_by.includes("new")),
    ),
  );
}

export const inputFields = (kind: KindFile | undefined, transition: string): Record<string, FieldSpec> =>
  transitionsOf(kind)[transition]?.input ?? {};

/** The fields that `edit` lets be set at all (its `who` is judged by the core). */
export function editFields(kind: KindFile | undefined): Record<string, FieldSpec> {
  const edits = (kind?.edit ?? []) as { fields?: string[] }[];
  const names = new Set(edits.flatMap((one) => one.fields ?? []));
  return Object.fromEntries(Object.entries(fieldsOf(kind)).filter(([name, spec]) => names.has(name) && spec.type !== "map"));
}

/** What a step would overwrite is shown as it stands, to be changed and not typed anew: its inputs that it writes into the field of the same name. */
export function standing(step: TransitionSpec | undefined, doc: View | undefined): Values {
  const names = Object.keys(step?.input ?? {}).filter((name) => step?.set?.[name]?.includes(`input.${name}`));
  return Object.fromEntries(
    names.map((name) => [name, doc?.[name]]).filter(([, value]) => value !== null && value !== undefined),
  ) as Values;
}

export const blank = (value: unknown): boolean =>
  value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0);

export function start(fields: Record<string, FieldSpec>, kept: Values = {}): Values {
  const values: Values = {};
  for (const [name, spec] of Object.entries(fields)) {
    if (kept[name] !== undefined) values[name] = kept[name];
    else if (spec.default !== undefined && typeof spec.default !== "object") values[name] = spec.default;
  }
  return values;
}

export type Fault = "required" | "low" | "high" | "long" | null;

/** What is wrong with one value by its type alone; conditions in CEL are the core's to judge. */
export function faultOf(spec: FieldSpec, value: unknown): Fault {
  if (blank(value)) return spec.required === true ? "required" : null;
  if (spec.type === "number") {
    if (typeof spec.min === "number" && Number(value) < spec.min) return "low";
    if (typeof spec.max === "number" && Number(value) > spec.max) return "high";
  }
  if (spec.type === "text" && [...String(value)].length > (spec.max ?? TEXT_CHARS_MAX)) return "long";
  if (spec.type === "label" && !(value as Partial<Label>).zh && !(value as Partial<Label>).en) return spec.required ? "required" : null;
  return null;
}

/** What is said: only what was asked and filled in. */
export function said(fields: Record<string, FieldSpec>, values: Values): Values {
  const told = Object.entries(values)
    .filter(([name, value]) => name in fields && fields[name]?.type !== "section" && !blank(value))
    .map(([name, value]) => [name, plain(fields[name], value)]);
  return JSON.parse(JSON.stringify(Object.fromEntries(told))) as Values;
}

/** A value as the ledger wants it: both languages of a label, no empty cells in a row. */
function plain(spec: FieldSpec | undefined, value: unknown): unknown {
  if (spec?.type === "label") {
    const { zh = "", en = "" } = value as Partial<Label>;
    return { zh: zh || en, en: en || zh };
  }
  if (spec?.type === "table") return (value as Values[]).map((row) => said(spec.columns ?? {}, row));
  return value;
}

// The arithmetic of a check: which answer of an item counts, how far it is, what a number means.
import { type CheckItem, type Checklist, isCheck } from "../../app/kinds";
import type { KindFile, MediaValue, View } from "../../app/types";
import { label, t } from "../../i18n";
import { derived } from "../../sync/ids";

export type Verdict = "ok" | "bad" | "na";

export interface Answer {
  id?: string;
  item: string;
  verdict: Verdict;
  value?: number | string | null;
  choice?: string | null;
  condition?: string | null;
  note?: string | null;
  grade?: string | null;
  media?: MediaValue[] | null;
  dwell_ms?: number | null;
  by?: string;
  at?: number;
}

/** Where what is entered about an item is kept until it is said. */
export const answerDraft = (check: string, item: string): string => `answer:${check}:${item}`;
export const proofDraft = (check: string, item: string): string => `proof:${check}:${item}`;

/** The latest answer of each item; the view's sets come ordered by clock, so the last one stands. */
export function latest(view: View | undefined): Map<string, Answer> {
  const by = new Map<string, Answer>();
  for (const answer of (view?.answers as Answer[] | undefined) ?? []) by.set(answer.item, answer);
  return by;
}

export interface Tally {
  ok: number;
  bad: number;
  na: number;
  left: number;
}

export function tally(items: CheckItem[], answers: Map<string, Answer>): Tally {
  const sum: Tally = { ok: 0, bad: 0, na: 0, left: 0 };
  for (const item of items) sum[answers.get(item.id)?.verdict ?? "left"] += 1;
  return sum;
}

export const firstOpen = (items: CheckItem[], answers: Map<string, Answer>): number => {
  const at = items.findIndex((item) => !answers.has(item.id));
  return at < 0 ? items.length : at;
};

export interface Bounds {
  min?: number | null;
  max?: number | null;
}

/** The name of the limit that stands over a bound. Twin of bound_key in backend/flow/kind.py. */
const boundKey = (item: string, bound: "min" | "max", condition?: string): string =>
  ["check", item, ...(condition ? [condition] : []), bound].join(".");

/** The bounds that hold for a number: the plant's limits stand over the list's figures, and a case has bounds of its own. */
export function boundsOf(item: CheckItem, limits: Readonly<Record<string, number>>, condition?: string | null): Bounds {
  const named = condition ? item.conditions?.find((one) => one.id === condition) : undefined;
  const of = named ?? item;
  return { min: limits[boundKey(item.id, "min", named?.id)] ?? of.min, max: limits[boundKey(item.id, "max", named?.id)] ?? of.max };
}

/** Whether the plant still owes a figure: what stands there is the list's placeholder, or nothing. */
export const limitUnset = (item: CheckItem, limits: Readonly<Record<string, number>>): boolean =>
  item.plant_sets_limit === true &&
  (["min", "max"] as const).every((bound) => {
    const set = limits[boundKey(item.id, bound)];
    return set === undefined || set === item[bound];
  });

/** Items in an order that follows from the check's id: nobody ticks a list by heart. */
export function shuffled(items: CheckItem[], check: string): CheckItem[] {
  const place = new Map(items.map((item) => [item.id, derived(`order:${check}:${item.id}`)]));
  return [...items].sort((a, b) => ((place.get(a.id) ?? "") < (place.get(b.id) ?? "") ? -1 : 1));
}

const DRAWS = 2 ** 32;

/** The items that want a photo though they are normal. The same draw as `proof_items` of the rules. */
export const proofsOf = (items: CheckItem[], check: string, ratio: number): Set<string> =>
  new Set(
    items.filter((item) => Number.parseInt(derived(`proof:${check}:${item.id}`).slice(0, 8), 16) < ratio * DRAWS).map((item) => item.id),
  );

/** A unit as it is written: words in the language chosen, m3 with its exponent. */
export function unitName(unit: string | null | undefined): string {
  if (unit === "turn") return t("unit.turn");
  if (unit === "heat") return t("unit.heat");
  if (unit === "set") return t("unit.set");
  return (unit ?? "").replace("m3", "m³").replace("vol%", "vol %");
}

/** What was read or chosen, in words. */
export function readingOf(item: CheckItem, answer: Answer): string {
  const named = item.conditions?.find((one) => one.id === answer.condition);
  const chosen = item.options?.find((one) => one.value === answer.choice);
  const value = answer.value === undefined || answer.value === null ? "" : `${answer.value} ${unitName(item.unit)}`.trim();
  return [value || label(chosen?.title), label(named?.title)].filter(Boolean).join(" · ");
}

/** A number is normal inside [min, max]; an absent side is open. */
export function inside(item: Bounds, value: number): boolean {
  return (
    (item.min === null || item.min === undefined || value >= item.min) && (item.max === null || item.max === undefined || value <= item.max)
  );
}

/** Seconds that looking at the items not yet answered takes at the least. */
export const dwellLeft = (items: CheckItem[], answers: Map<string, Answer>): number =>
  items.filter((item) => !answers.has(item.id)).reduce((sum, item) => sum + (item.dwell_s ?? 0), 0);

/** What "all the rest is normal" can answer: yes/no items only. A number is read at the place, never assumed; a proof photo is taken there. */
export const restOf = (items: CheckItem[], answers: Map<string, Answer>, proofs: ReadonlySet<string> = new Set()): CheckItem[] =>
  items.filter((item) => item.type === "yes_no" && !answers.has(item.id) && !proofs.has(item.id));

/** Keeps what a keypad has typed a number: at most one point, three decimals, six digits. */
export function typeDigit(text: string, key: string): string {
  if (key === "del") return text.slice(0, -1);
  if (key === "-") return text.startsWith("-") ? text.slice(1) : `-${text}`;
  if (key === ".") return text.includes(".") ? text : `${text || "0"}.`;
  const next = text === "0" ? key : text + key;
  return /^-?\d{0,6}(\.\d{0,3})?$/.test(next) ? next : text;
}

/** The newest version of each check list made for this type of machine. A list that names no types is for all. */
export function checkKindsFor(kinds: KindFile[], type: string): KindFile[] {
  const newest = new Map<string, KindFile>();
  for (const kind of kinds) {
    if (!isCheck(kind.kind)) continue;
    const types = (kind.checklist as Checklist | undefined)?.equipment_types;
    if (types && !(Array.isArray(types) ? types.includes(type) : type in types)) continue;
    const before = newest.get(kind.kind);
    if (!before || before.version < kind.version) newest.set(kind.kind, kind);
  }
  return [...newest.values()];
}

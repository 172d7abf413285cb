// The arithmetic of a check: which answer of an item counts, how far it is, what a number means.
import { type CheckItem, type Checklist, isCheck } from "../../app/kinds";
import type { KindFile, MediaValue, View } from "../../app/types";

export type Verdict = "ok" | "bad" | "na";

export interface Answer {
  id?: string;
  item: string;
  verdict: Verdict;
  value?: number | string | null;
  note?: string | null;
  grade?: string | null;
  media?: MediaValue[] | null;
  dwell_ms?: number | null;
  by?: string;
  at?: number;
}

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

/** A number is normal inside [min, max]; an absent side is open. */
export function inside(item: CheckItem, value: number): boolean {
  return (
    (item.min === null || item.min === undefined || value >= item.min) && (item.max === null || item.max === undefined || value <= item.max)
  );
}

/** Seconds that looking at the items not yet answered takes at the least. */
export const dwellLeft = (items: CheckItem[], answers: Map<string, Answer>): number =>
  items.filter((item) => !answers.has(item.id)).reduce((sum, item) => sum + (item.dwell_s ?? 0), 0);

/** What "all the rest is normal" can answer: yes/no items only. A number is read at the place, never assumed. */
export const restOf = (items: CheckItem[], answers: Map<string, Answer>): CheckItem[] =>
  items.filter((item) => item.type === "yes_no" && !answers.has(item.id));

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

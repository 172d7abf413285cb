// The roster as a grid: role × shift down, seven days across. A line for a day and shift is the last one said; see the kind `roster`.
import type { View } from "../app/types";

export const DAY_MS = 86_400_000;
export const DAYS = 7;

export interface Duty {
  date: string;
  shift: string;
  persons: string[];
}

/** "2026-11-21" of midnight UTC of that day. */
export const written = (day: number): string => new Date(day).toISOString().slice(0, 10);
export const dayOf = (date: string): number => Date.parse(`${date}T00:00:00Z`);

/** The Monday of the week in which the day lies. */
export function monday(day: number): number {
  const weekday = (new Date(day).getUTCDay() + 6) % 7;
  return day - weekday * DAY_MS;
}

export const week = (from: number): string[] => Array.from({ length: DAYS }, (_, n) => written(from + n * DAY_MS));

/** First and last day of the month in which the date lies: what a new roster covers. */
export function monthOf(date: string): { from: string; until: string } {
  const [year = 1970, month = 1] = date.split("-").map(Number);
  return { from: written(Date.UTC(year, month - 1, 1)), until: written(Date.UTC(year, month, 0)) };
}

const covers = (roster: View, date: string): boolean => String(roster.from) <= date && date <= String(roster.until);

/** The rosters of an area (null: of the whole plant) and role that cover the day, the narrowest first: that is the one to write into. */
export function rosterFor(rosters: View[], area: string | null, role: string, date: string): View | undefined {
  return rosters
    .filter((one) => (one.area ?? null) === area && one.role === role && covers(one, date))
    .sort((a, b) => dayOf(String(a.until)) - dayOf(String(a.from)) - (dayOf(String(b.until)) - dayOf(String(b.from))))[0];
}

/** Who is on duty in one cell: everybody whom a roster's last line names. */
export function onDuty(rosters: View[], area: string | null, role: string, date: string, shift: string): string[] {
  const found = new Set<string>();
  for (const roster of rosters) {
    if ((roster.area ?? null) !== area || roster.role !== role || !covers(roster, date)) continue;
    const line = ((roster.duties as Duty[] | null) ?? []).filter((one) => one.date === date && one.shift === shift).at(-1);
    for (const person of line?.persons ?? []) found.add(person);
  }
  return [...found];
}

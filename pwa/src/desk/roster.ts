// The roster as a grid: role × shift down, seven days across. A line for a day and shift is the last one said; see the kind `roster`.
import type { View } from "../app/types";

export const DAY_MS = 86_400_000;
export const DAYS = 7;

export interface Duty {
  date: string;
  shift: string;
  /** none in a line that empties its cell */
  persons?: string[] | null;
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

/** The rosters of an area (null: of the whole plant) and role that cover the day, the one begun last at the end: that one counts. */
const covering = (rosters: View[], area: string | null, role: string, date: string): View[] =>
  rosters.filter((one) => (one.area ?? null) === area && one.role === role && covers(one, date)).sort((a, b) => (a.id < b.id ? -1 : 1));

/** The roster to write into. */
export const rosterFor = (rosters: View[], area: string | null, role: string, date: string): View | undefined =>
  covering(rosters, area, role, date).at(-1);

/** Who is on duty in one cell: of a roster its last line, of several rosters the last one that has a line. As `Rosters` of flow/calendar. */
export function onDuty(rosters: View[], area: string | null, role: string, date: string, shift: string): string[] {
  const lines = covering(rosters, area, role, date).flatMap((roster) =>
    ((roster.duties as Duty[] | null) ?? []).filter((one) => one.date === date && one.shift === shift).slice(-1),
  );
  return lines.at(-1)?.persons ?? [];
}

// A document's history: what the server answers (backend/sync/history.py), and what each entry changed from what to what.
import { plantTime } from "../i18n/zone";

export interface Line {
  seq: number;
  what: "op" | "verdict" | "erasure";
  arrived: number;
  op: string | null;
  number: number | null;
  device: number | null;
  device_label: string;
  author: string | null;
  anonymous: boolean;
  claimed: number | null;
  ordered: number | null;
  marks: string[];
  verb: "new" | "set" | "add" | "act" | null;
  name: string | null;
  state: "ok" | "refused" | "parked";
  code: string | null;
  params: Record<string, unknown>;
  status: string | null;
  fields: Record<string, unknown>;
  items: Record<string, Record<string, unknown>[]>;
  said: Record<string, unknown>;
}

export interface Change {
  field: string;
  before: unknown;
  after: unknown;
  /** what stood before lies in entries that were not fetched yet */
  unknown: boolean;
}

/** Nothing and an empty list are the same to a reader. */
const told = (value: unknown): unknown => (value === undefined || (Array.isArray(value) && value.length === 0) ? null : value);
const same = (a: unknown, b: unknown): boolean => JSON.stringify(told(a)) === JSON.stringify(told(b));

/** What the `at`th line (the newest is the first) wrote into fields. What it wrote as it stood is no change. `more`: older lines were not fetched. */
export function changes(lines: Line[], at: number, more: boolean): Change[] {
  const line = lines[at];
  if (!line) return [];
  const older = lines.slice(at + 1);
  return Object.entries(line.fields)
    .map(([field, after]) => {
      const wrote = older.find((one) => field in one.fields);
      return { field, before: wrote?.fields[field] ?? null, after, unknown: !wrote && more };
    })
    .filter((change) => change.unknown || !same(change.before, change.after));
}

/** The status before the `at`th line; undefined where it is not known. */
export const statusBefore = (lines: Line[], at: number): string | undefined =>
  lines.slice(at + 1).find((one) => one.status !== null)?.status ?? undefined;

const SLIGHT_MS = 2_000;

/** How far the phone's clock stood from the server's when the entry was made is not known; how late it came is: claimed to arrived. Null where it is slight. */
export function late(line: Line): number | null {
  if (line.claimed === null) return null;
  const ms = line.arrived - line.claimed;
  return Math.abs(ms) < SLIGHT_MS ? null : ms;
}

const two = (n: number): string => String(n).padStart(2, "0");

/** "2026-11-21 14:06:22" in the plant's time: a history is read to the second. */
export function stamp(ms: number): string {
  const { year, month, day, hour, minute } = plantTime(ms);
  return `${year}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(Math.floor(ms / 1_000) % 60)}`;
}

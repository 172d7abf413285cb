// The plant's time: which local day and shift a moment falls into, what sort of day that is, and who is on duty. Pure, and small: the first screen uses it.
// Twin of backend/flow/calendar.py, which says what each thing means.

type Values = Readonly<Record<string, unknown>>;

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const TIME_MS_MAX = 7_258_118_400_000;
const WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const REST_DAYS = ["sat", "sun"];
const NIGHT_MIN: [number, number] = [1_320, 360];
const WINDOW_DAYS_AHEAD_MAX = 32;
export const WINDOW_MIN_MAX = 44_640;

/** The calendar gives no answer. */
export class Unknown extends Error {
  constructor(
    readonly why: string,
    readonly code = "flow.rule_failed",
    readonly params: Record<string, unknown> = {},
  ) {
    super(`${code} ${why}`);
  }
}

/** One shift of one day: `day` is the one it begins on, `ends` the moment after its last. */
export interface Shift {
  name: string;
  names: unknown;
  day: number;
  begins: number;
  ends: number;
}

interface Kept {
  name: string;
  names: unknown;
  start: number;
  end: number;
}

export interface Window {
  begins_at: number;
  ends_at: number;
  shift: string;
  shift_name: unknown;
  date: string;
}

export class Calendar {
  private readonly of: Values;
  private offsets: [since: number, offset: number][] | null = null;
  private kept: Kept[] | null = null;
  private days: Map<number, string> | null = null;

  constructor(
    private readonly view: Values | null,
    plant: Values | null = null,
  ) {
    this.of = view ?? plant ?? {};
  }

  /** Milliseconds east of UTC at a moment. */
  offset(ms: number): number {
    this.offsets ??= this.readOffsets();
    let found = this.offsets[0]?.[1] ?? 0;
    for (const [since, offset] of this.offsets) {
      if (since > ms) break;
      found = offset;
    }
    return found;
  }

  /** The moment at which clocks of the plant show this. */
  utc(local: number): number {
    return local - this.offset(local - this.offset(local));
  }

  day(ms: number): number {
    return Math.floor((ms + this.offset(ms)) / DAY_MS);
  }

  dayStart(ms: number): number {
    return this.utc(this.day(moment(ms)) * DAY_MS);
  }

  minuteOfDay(ms: number): number {
    const local = moment(ms) + this.offset(ms);
    return Math.floor((local - Math.floor(local / DAY_MS) * DAY_MS) / MINUTE_MS);
  }

  /** The shift that a moment falls into; null between shifts. */
  shift(ms: number): Shift | null {
    const at = moment(ms);
    const today = this.day(at);
    for (const kept of this.shifts()) {
      for (const day of [today, today - 1]) {
        const found = this.on(day, kept);
        if (found.begins <= at && at < found.ends) return found;
      }
    }
    return null;
  }

  /** The shift that a check counts for: the last `handover_min` of a shift belong to the next one. */
  workingShift(ms: number): Shift {
    const found = this.shift(moment(ms) + whole(this.of.handover_min ?? 0) * MINUTE_MS);
    if (!found) throw new Unknown("shift");
    return found;
  }

  shifts(): Kept[] {
    this.kept ??= ((this.of.shifts ?? []) as Values[]).map((one, n) => ({
      name: (one.key as string | null | undefined) || String(n),
      names: one.name ?? null,
      start: whole(one.start_min),
      end: whole(one.end_min),
    }));
    return this.kept;
  }

  isNight(ms: number): boolean {
    const given = [this.of.night_from_min ?? null, this.of.night_until_min ?? null];
    const [begins, ends] = given.includes(null) ? NIGHT_MIN : (given.map(whole) as [number, number]);
    const minute = this.minuteOfDay(moment(ms));
    return begins < ends ? begins <= minute && minute < ends : minute >= begins || minute < ends;
  }

  isRestDay(ms: number): boolean {
    const day = this.day(moment(ms));
    if (this.view) this.known(day);
    return this.rests(day);
  }

  isHoliday(ms: number): boolean {
    const day = this.day(moment(ms));
    if (!this.view) throw new Unknown("calendar", "flow.no_calendar");
    this.known(day);
    return this.sorts().get(day) === "holiday";
  }

  /** Whether a day is one of rest as far as is known: for planning, which must go on. */
  rests(day: number): boolean {
    const sort = this.sorts().get(day);
    if (sort !== undefined) return sort !== "work";
    return ((this.of.rest_days as string[] | null | undefined) ?? REST_DAYS).includes(WEEKDAYS[(((day + 3) % 7) + 7) % 7] as string);
  }

  nextWindow(windows: readonly Values[], days: unknown, after: number | null, now: number): Window | null {
    const at = moment(now);
    const today = this.day(at);
    for (let day = today - 1; day < today + WINDOW_DAYS_AHEAD_MAX; day++) {
      if ((days === "working" || days === "rest") && this.rests(day) !== (days === "rest")) continue;
      let first: [begins: number, ends: number, shift: Shift] | null = null;
      for (const shift of this.shifts().map((kept) => this.on(day, kept))) {
        for (const window of windows) {
          const begins = shift.begins + whole(window.from_min ?? 0) * MINUTE_MS;
          const ends = shift.begins + whole(window.until_min ?? 0) * MINUTE_MS;
          const of = window.shift ?? null;
          if ((of !== null && of !== shift.name) || begins >= ends || ends <= at || (after !== null && begins <= after)) continue;
          if (!first || begins < first[0] || (begins === first[0] && ends < first[1])) first = [begins, ends, shift];
        }
      }
      if (first) {
        const [begins_at, ends_at, shift] = first;
        return { begins_at, ends_at, shift: shift.name, shift_name: shift.names, date: written(shift.day) };
      }
    }
    return null;
  }

  private on(day: number, { name, names, start, end }: Kept): Shift {
    const last = end > start ? end : end + 1_440;
    return { name, names, day, begins: this.utc(day * DAY_MS + start * MINUTE_MS), ends: this.utc(day * DAY_MS + last * MINUTE_MS) };
  }

  private readOffsets(): [number, number][] {
    if (!this.view) {
      const fixed = this.of.zone_offset_min ?? null;
      if (fixed === null) throw new Unknown("plant");
      return [[0, whole(fixed) * MINUTE_MS]];
    }
    const found = ((this.view.offsets ?? []) as Values[]).map((one): [number, number] => [
      whole(one.since),
      whole(one.offset_min) * MINUTE_MS,
    ]);
    if (!found.length) throw new Unknown("plant");
    return found;
  }

  private known(day: number): void {
    const { days_from: begins = null, days_until: ends = null } = this.of;
    if (begins === null || ends === null || day < dayOf(begins as string) || day > dayOf(ends as string))
      throw new Unknown("calendar", "flow.calendar_ends", { date: written(day) });
  }

  private sorts(): Map<number, string> {
    if (!this.days) {
      this.days = new Map();
      for (const one of (this.of.days ?? []) as Values[]) {
        const first = dayOf(one.from as string);
        const last = Math.min(dayOf((one.until as string | null | undefined) || (one.from as string)), first + 400);
        for (let day = first; day <= last; day++) this.days.set(day, one.sort as string);
      }
    }
    return this.days;
  }
}

/** Every roster in use, and each area's parent. */
export interface Rosters {
  views: readonly Values[];
  parents: Readonly<Record<string, string | null>>;
}

const SORTED = new WeakMap<Rosters, Map<string, Map<string, string[]>>>();

/** The persons whom the nearest roster names for the shift of a moment: the area's own, else that of what it lies in, else the plant's. */
export function onDuty(rosters: Rosters, calendar: Calendar, role: string, area: string | null, ms: number): string[] {
  const shift = calendar.shift(ms);
  if (!shift) return [];
  const found = sorted(rosters);
  const place = `${written(shift.day)} ${shift.name}`;
  const most = Object.keys(rosters.parents).length;
  for (let at = area, steps = 0; ; steps++) {
    const persons = found.get(`${role} ${at ?? ""}`)?.get(place);
    if (persons?.length) return persons;
    if (at === null || steps > most) return [];
    at = Object.hasOwn(rosters.parents, at) ? (rosters.parents[at] ?? null) : null;
  }
}

function sorted(rosters: Rosters): Map<string, Map<string, string[]>> {
  let found = SORTED.get(rosters);
  if (!found) {
    found = new Map();
    for (const view of [...rosters.views].sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1))) {
      if (view.status !== "in_use") continue;
      const of = `${view.role} ${view.area ?? ""}`;
      const lines = found.get(of) ?? new Map<string, string[]>();
      found.set(of, lines);
      for (const one of (view.duties ?? []) as { date: string; shift: string; persons?: string[] | null }[])
        if ((view.from as string) <= one.date && one.date <= (view.until as string))
          lines.set(`${one.date} ${one.shift}`, one.persons ?? []);
    }
    SORTED.set(rosters, found);
  }
  return found;
}

/** A day as a date. */
export const written = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10);

/** A date's day. */
export function dayOf(text: string): number {
  const day = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) / DAY_MS : Number.NaN;
  if (!Number.isInteger(day) || written(day) !== text) throw new Unknown("type");
  return day;
}

function moment(ms: number): number {
  if (!(ms >= 0 && ms <= TIME_MS_MAX)) throw new Unknown("time");
  return Math.floor(ms);
}

function whole(value: unknown): number {
  return Math.floor(value as number);
}

// The arithmetic of a round: which stops are open, which come next, what a visit is flagged for, whose round it is.
import type { Label, Me, Place, View } from "../../app/types";

export interface Question {
  id: string;
  title: Label;
  type: "yes_no" | "number" | "text";
  unit?: string;
  min?: number;
  max?: number;
  /** of a yes or no: the answer that is abnormal */
  bad?: boolean;
}

export interface Stop {
  id: string;
  names: Label;
  machine?: string | null;
  tag?: string | null;
  place?: { lat: number; lon: number } | null;
  do: "scan" | "check" | "questions";
  check?: string | null;
  questions?: Question[] | null;
}

export interface Visit {
  id?: string;
  stop: string;
  tag?: string | null;
  phone_at?: number | null;
  place?: Place | null;
  distance_m?: number | null;
  accuracy_m?: number | null;
  out_of_order?: boolean | null;
  skipped?: string | null;
  check?: string | null;
  answers?: Record<string, unknown> | null;
  abnormal?: string[] | null;
  note?: string | null;
  by?: string | null;
  at?: number | null;
}

/** A planned round stands among the tasks this long before its window begins. */
export const SHOWN_BEFORE_MS = 15 * 60_000;

export const stopsOf = (view: View | undefined): Stop[] => (view?.stops as Stop[] | null | undefined) ?? [];
export const visitsOf = (view: View | undefined): Visit[] => (view?.visits as Visit[] | null | undefined) ?? [];

/** What counts of a stop: a visit that reached it, the last of them; else the last skip. */
export function visitOf(view: View | undefined, stop: string): Visit | undefined {
  const found = visitsOf(view).filter((visit) => visit.stop === stop);
  return found.filter((visit) => !visit.skipped).at(-1) ?? found.at(-1);
}

export const reached = (view: View | undefined): Stop[] =>
  stopsOf(view).filter((stop) => visitsOf(view).some((visit) => visit.stop === stop.id && !visit.skipped));
export const unreached = (view: View | undefined): Stop[] => {
  const there = new Set(reached(view).map((stop) => stop.id));
  return stopsOf(view).filter((stop) => !there.has(stop.id));
};
/** Neither visited nor skipped, in the route's order. */
export const openStops = (view: View | undefined): Stop[] => {
  const known = new Set(visitsOf(view).map((visit) => visit.stop));
  return stopsOf(view).filter((stop) => !known.has(stop.id));
};
export const nextStop = (view: View | undefined): Stop | undefined => openStops(view)[0];

/** Metres beyond what the route allows, what the phone could be wrong by taken off; null where it is near enough or unknown. */
export function beyond(view: View | undefined, visit: Visit): number | null {
  const radius = view?.radius_m;
  if (typeof visit.distance_m !== "number" || typeof radius !== "number") return null;
  const over = visit.distance_m - (visit.accuracy_m ?? 0) - radius;
  return over > 0 ? Math.round(over) : null;
}

export const isFlagged = (view: View | undefined, visit: Visit): boolean => visit.out_of_order === true || beyond(view, visit) !== null;

export const isOpenRound = (view: View): boolean => ["due", "walking", "missed"].includes(view.status);

/** Its window has begun, or nearly. */
export const isNear = (view: View, now: number): boolean => Number(view.begins_at) - SHOWN_BEFORE_MS <= now;

/** Whose task it is: who walks it, whom it was given to, and where it was given to nobody, whoever checks in its area. */
export function isMine(view: View, me: Me | null): boolean {
  if (!me) return false;
  if (typeof view.walker === "string") return view.walker === me.id;
  const assignees = (view.assignees as string[] | null | undefined) ?? [];
  return assignees.length ? assignees.includes(me.id) : me.has("check", view.area as string);
}

/** Whether a tag that was read stands at this stop. `machine`: what the tag is bound to. */
export const isAt = (stop: Stop, code: string, machine: string | null): boolean =>
  stop.tag === code || (machine !== null && stop.machine === machine);

/** The stop of a round that a tag stands for. From anywhere only what is next counts (where the order is free, whatever is open); on the
 * round's own screen every stop that is open does. */
export function stopAt(view: View, code: string, machine: string | null, anywhere: boolean): Stop | undefined {
  const open = openStops(view);
  return (anywhere && view.order === "fixed" ? open.slice(0, 1) : open).find((stop) => isAt(stop, code, machine));
}

/** Ids of the questions whose answer is not normal. */
export function abnormalOf(questions: readonly Question[], answers: Readonly<Record<string, unknown>>): string[] {
  return questions
    .filter(({ id, type, bad, min, max }) => {
      const given = answers[id];
      if (type === "yes_no") return typeof given === "boolean" && given === (bad ?? false);
      return typeof given === "number" && ((min !== undefined && given < min) || (max !== undefined && given > max));
    })
    .map(({ id }) => id);
}

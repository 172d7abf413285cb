// Arriving at a stop: what is said, with the place and both clocks. The place is asked for now and waited for a little; nobody is refused for want of it.
import { refView } from "../../app/names";
import type { Core, KindFile, Place, View } from "../../app/types";
import { distance, gps } from "../../scan/last";
import { isCheck, isOpen } from "../../app/kinds";
import { allowedAway, awayFrom } from "../equipment/away";
import { nextStop, type Stop, type Visit } from "./rounds";

/** What is kept from the scan until the visit is said: a call or a dead battery in between loses nothing. */
export interface Arrival {
  stop: string;
  tag: string;
  phone_at: number;
  answers?: Record<string, unknown>;
}

export const arrivalDraft = (round: string): string => `arrival:${round}`;

/** Where the stop is: its own place, else its machine's, else its area's. */
export function placeOf(view: View, stop: Stop): unknown {
  return stop.place ?? refView("machine", stop.machine)?.place ?? refView("area", view.area)?.place ?? null;
}

/** A visit as it will be said. */
export async function visitAt(core: Core, view: View, stop: Stop, arrival: Arrival, locate: boolean): Promise<Visit> {
  const visit: Visit = { stop: stop.id, tag: arrival.tag, phone_at: arrival.phone_at };
  if (view.order === "fixed" && nextStop(view)?.id !== stop.id) visit.out_of_order = true;
  const fix = locate ? await gps() : null;
  if (fix) {
    const { latitude: lat, longitude: lon, accuracy } = fix.coords;
    const accuracy_m = Math.round(accuracy);
    visit.place = { lat, lon, accuracy_m, source: "gps", phone_at: Date.now(), at: core.now() } satisfies Place;
    const away = distance(placeOf(view, stop), { lat, lon });
    if (away !== null) {
      visit.distance_m = away;
      visit.accuracy_m = accuracy_m;
    }
  }
  return visit;
}

/** The check that a stop asks for: mine that is open on its machine, else a new one. Gives its key. */
export async function checkAt(core: Core, stop: Stop, visit: Visit): Promise<string> {
  const kind = core.kind(stop.check ?? "") as (KindFile & { checklist?: { modes: string[] } }) | undefined;
  const mine = core
    .kinds()
    .filter((one) => isCheck(one.kind) && one.kind === stop.check)
    .flatMap((one) => core.list(one.kind, (doc) => doc.view.machine === stop.machine && doc.view.inspector === core.me.value?.id).value)
    .find((doc) => isOpen(core.kind(doc.view.kind, doc.view.version), doc.view.status));
  if (mine) return mine.key;
  const modes = kind?.checklist?.modes ?? [];
  const { tag, place } = visit;
  const machine = refView("machine", stop.machine);
  const distance_m = (machine && place && awayFrom(machine, refView("area", machine.area), place, allowedAway(core))) ?? undefined;
  const given = { tag, place, distance_m };
  const known = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return core.create(stop.check ?? "", {
    machine: stop.machine,
    mode: modes.includes("patrol") ? "patrol" : (modes[0] ?? "patrol"),
    ...known,
  });
}

// How far from its machine a check was begun. Too far is flagged, and never refused.
import type { Core, View } from "../../app/types";
import { distance } from "../../scan/last";

/** The plant's limit for it: backend/flow/limits.yaml. */
export const AWAY_LIMIT = "check.distance_m";

/** Metres beyond which a check is flagged; null where the plant has set none. */
export function allowedAway(core: Core): number | null {
  const value = core.list("limit", (doc) => doc.view.name === AWAY_LIMIT && doc.view.status !== "retired").value[0]?.view.value;
  return typeof value === "number" ? value : null;
}

/** Metres between a machine and the phone: from its own place, else from the edge of its area. Null where none is known, or where the phone
 *  is less sure than the limit is wide: such a fix says nothing. */
export function awayFrom(
  machine: View,
  area: View | undefined,
  at: { lat: number; lon: number; accuracy_m: number },
  allowed: number | null,
): number | null {
  if (at.accuracy_m > (allowed ?? Number.POSITIVE_INFINITY)) return null;
  if (machine.place) return distance(machine.place, at);
  const radius = (area?.place as { radius_m?: number } | null)?.radius_m;
  const away = distance(area?.place, at);
  return away === null || typeof radius !== "number" ? null : Math.max(0, away - radius);
}

/** How far a check was from its machine, where that is farther than the plant allows; else null. */
export function tooFar(check: View | undefined, allowed: number | null): number | null {
  const away = check?.distance_m;
  return typeof away === "number" && allowed !== null && away > allowed ? away : null;
}

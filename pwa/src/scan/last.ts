// The tag scanned last says where the person is, for a while: a hazard or a check begun after it takes its place from it.
import type { Place, View } from "../app/types";
import { keepTyped } from "../app/draft";
import { useCore } from "../app/use";

export interface LastScan {
  code: string;
  machine: string | null;
  area: string | null;
  at: number;
}

/** After this a scan says nothing any more about where somebody stands. */
export const SCAN_AGE_MS_MAX = 30 * 60_000;
const DRAFT = "last-scan";

export async function lastScan(): Promise<LastScan | undefined> {
  const core = useCore();
  const last = await core.draft<LastScan>(DRAFT);
  return last && core.now() - last.at < SCAN_AGE_MS_MAX ? last : undefined;
}

/** A phone too full to keep it says so, and opens the machine all the same. */
export async function keepScan(tag: View): Promise<void> {
  const core = useCore();
  await keepTyped<LastScan>(DRAFT, {
    code: String(tag.code),
    machine: (tag.machine as string) ?? null,
    area: (tag.area as string) ?? null,
    at: core.now(),
  });
}

const GPS_WAIT_MS = 6_000;

/** Where the phone says it is, asked now; null where it does not say in time. */
export function gps(): Promise<GeolocationPosition | null> {
  if (!("geolocation" in navigator)) return Promise.resolve(null);
  return new Promise((resolve) => {
    // Some browsers never answer when the prompt is left alone: our own clock ends the wait.
    setTimeout(() => resolve(null), GPS_WAIT_MS + 500);
    navigator.geolocation.getCurrentPosition(resolve, () => resolve(null), {
      enableHighAccuracy: true,
      timeout: GPS_WAIT_MS,
      maximumAge: 15_000,
    });
  });
}

/** The same where the person has allowed it before: nobody is asked. */
export async function gpsIfAllowed(): Promise<GeolocationPosition | null> {
  const state = await navigator.permissions?.query({ name: "geolocation" }).catch(() => null);
  return state?.state === "granted" ? gps() : null;
}

const EARTH_M = 6_371_008.8;

/** Metres between a machine's own place and where the phone says it is, rounded; null where the machine has none. */
export function distance(own: unknown, place: { lat: number; lon: number }): number | null {
  const { lat, lon } = (own ?? {}) as { lat?: number; lon?: number };
  if (typeof lat !== "number" || typeof lon !== "number") return null;
  const rad = Math.PI / 180;
  const a =
    Math.sin(((place.lat - lat) * rad) / 2) ** 2 +
    Math.cos(lat * rad) * Math.cos(place.lat * rad) * Math.sin(((place.lon - lon) * rad) / 2) ** 2;
  return Math.round(2 * EARTH_M * Math.asin(Math.min(1, Math.sqrt(a))));
}

/** Where an act happens: the machine's or area's own place when its tag was just scanned, else GPS, else nothing. Asked for only now, never tracked. */
export async function placeNow(view: View | undefined, scan: LastScan | undefined): Promise<Place | null> {
  const core = useCore();
  const own = (view?.place ?? null) as { lat: number; lon: number; radius_m?: number; accuracy_m?: number } | null;
  const stamp = { phone_at: Date.now(), at: core.now() };
  if (scan && view && scan.machine === view.id && own) {
    return { lat: own.lat, lon: own.lon, accuracy_m: own.radius_m ?? own.accuracy_m ?? 30, source: "tag", tag: scan.code, ...stamp };
  }
  const fix = await gps();
  if (!fix) return null;
  return { lat: fix.coords.latitude, lon: fix.coords.longitude, accuracy_m: Math.round(fix.coords.accuracy), source: "gps", ...stamp };
}

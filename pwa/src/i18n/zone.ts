// The plant's own time. Every date and hour on screen is the plant's, whatever zone the phone is set to: a shift, a deadline and a
// handover are agreed in it.
import { ref, shallowRef } from "vue";
import type { Calendar } from "../flow/calendar";

const MINUTE_MS = 60_000;

/** The plant's calendar; null until it is known. */
export const plantCalendar = shallowRef<Calendar | null>(null);

/** Minutes that the plant is ahead of UTC where no calendar is known; null until the plant is known: the phone's own zone serves till then. */
export const zone = ref<number | null>(null);

export interface PlantTime {
  year: number;
  /** 1 to 12 */
  month: number;
  day: number;
  hour: number;
  minute: number;
}

/** Unix ms moved so that what UTC makes of it reads as the plant's date and hour. */
export function moved(ms: number): number {
  if (plantCalendar.value) return ms + plantCalendar.value.offset(ms);
  return ms + (zone.value ?? -new Date(ms).getTimezoneOffset()) * MINUTE_MS;
}

export function plantTime(ms: number): PlantTime {
  const d = new Date(moved(ms));
  return { year: d.getUTCFullYear(), month: d.getUTCMonth() + 1, day: d.getUTCDate(), hour: d.getUTCHours(), minute: d.getUTCMinutes() };
}

/** Unix ms of a date and hour in the plant. */
export function fromPlantTime({ year, month, day, hour, minute }: PlantTime): number {
  const local = Date.UTC(year, month - 1, day, hour, minute);
  if (plantCalendar.value) return plantCalendar.value.utc(local);
  if (zone.value === null) return new Date(year, month - 1, day, hour, minute).getTime();
  return local - zone.value * MINUTE_MS;
}

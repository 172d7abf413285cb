// Which shift the plant is in. Shifts are minutes from midnight in the plant's zone; one may run over midnight.
import { computed, type ComputedRef } from "vue";
import type { Label } from "./types";
import { useCore, useNow } from "./use";

export interface Shift {
  name: Label | string;
  /** Unix ms */
  from: number;
  until: number;
}

interface PlantShift {
  name: Label | string;
  start_min: number;
  end_min: number;
}

const DAY_MIN = 1_440;

/** The shift that holds `now`, or null when the plant has none then. */
export function shiftAt(shifts: PlantShift[], zoneMin: number, now: number): Shift | null {
  const local = Math.floor(now / 60_000) + zoneMin;
  const minute = ((local % DAY_MIN) + DAY_MIN) % DAY_MIN;
  for (const shift of shifts) {
    const length = (shift.end_min - shift.start_min + DAY_MIN) % DAY_MIN || DAY_MIN;
    const into = (minute - shift.start_min + DAY_MIN) % DAY_MIN;
    if (into < length) {
      const from = (local - into - zoneMin) * 60_000;
      return { name: shift.name, from, until: from + length * 60_000 };
    }
  }
  return null;
}

export function useShift(): ComputedRef<Shift | null> {
  const plants = useCore().list("plant");
  const now = useNow(60_000);
  return computed(() => {
    const plant = plants.value[0]?.view;
    if (!plant || !Array.isArray(plant.shifts)) return null;
    return shiftAt(plant.shifts as PlantShift[], Number(plant.zone_offset_min ?? 480), now.value);
  });
}

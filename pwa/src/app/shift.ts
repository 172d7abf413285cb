// Which shift the plant is in, by its calendar; by the plant's own shifts where no calendar is here yet.
import { computed, type ComputedRef } from "vue";
import { Calendar, type Shift } from "../flow/calendar";
import { useCore, useNow } from "./use";

/** The plant's calendar; null while nothing is known of the plant. */
export function useCalendar(): ComputedRef<Calendar | null> {
  const core = useCore();
  const calendars = core.list("calendar", (doc) => doc.view.status === "in_use");
  const plants = core.list("plant");
  return computed(() => {
    const calendar = calendars.value[0]?.view ?? null;
    const plant = plants.value[0]?.view ?? null;
    const known = calendar ? Array.isArray(calendar.offsets) && calendar.offsets.length > 0 : typeof plant?.zone_offset_min === "number";
    return known ? new Calendar(calendar, plant) : null;
  });
}

/** The shift that runs now; null between shifts. */
export function useShift(): ComputedRef<Shift | null> {
  const calendar = useCalendar();
  const now = useNow(60_000);
  return computed(() => calendar.value?.shift(now.value) ?? null);
}

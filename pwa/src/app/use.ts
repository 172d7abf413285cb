// What every screen asks for: the phone's data, the time, and whether a form is open.
import { onScopeDispose, type Ref, ref } from "vue";
import type { Core } from "./types";

let core: Core | undefined;

export function setCore(of: Core): void {
  core = of;
}

export function useCore(): Core {
  if (!core) throw new Error("the data layer has not been started");
  return core;
}

/** A clock that ticks every `everyMs`, corrected by the server's time. */
export function useNow(everyMs = 20_000): Ref<number> {
  const c = useCore();
  const now = ref(c.now());
  const timer = setInterval(() => {
    now.value = c.now();
  }, everyMs);
  onScopeDispose(() => clearInterval(timer));
  return now;
}

/** How many forms are open: an update waits until there are none. */
export const formsOpen = ref(0);

export function useOpenForm(): void {
  formsOpen.value += 1;
  onScopeDispose(() => {
    formsOpen.value -= 1;
  });
}

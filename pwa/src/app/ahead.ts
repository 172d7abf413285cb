// Screens that are opened many times a day are loaded before they are asked for, one at a time while nothing else happens: the first press on a row then
// waits for no file. Only behind the PIN, so that the way there stays light.
import { watch } from "vue";
import type { Router } from "vue-router";
import type { Core } from "./types";

const OFTEN = ["list", "machine", "hazards", "hazard", "tasks", "doc", "check"];
const QUIET_MS = 1_500;

export function loadAhead(router: Router, core: Core): void {
  const waiting = [...OFTEN];
  const next = async (): Promise<void> => {
    const name = waiting.shift();
    if (!name) return;
    const load = router.getRoutes().find((route) => route.name === name)?.components?.default;
    // Without a network and not kept yet: it is asked for again when it is opened.
    if (typeof load === "function") await (load as () => Promise<unknown>)().catch(() => undefined);
    idle();
  };
  const idle = (): void => {
    if (typeof requestIdleCallback === "function") requestIdleCallback(() => void next());
    else setTimeout(() => void next(), QUIET_MS);
  };
  const stop = watch(
    [core.lock, core.sync],
    ([lock, sync]) => {
      if (lock !== "open" || sync.first || sync.loading || sync.last === null) return;
      queueMicrotask(() => stop());
      setTimeout(idle, QUIET_MS);
    },
    { immediate: true },
  );
}

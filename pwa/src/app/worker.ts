// The service worker seen from the page: registration, "a new version is ready", and a reload that only the person asks for.
import { computed, ref } from "vue";
import { workerUrl } from "./trusted";
import { formsOpen } from "./use";

const waiting = ref<ServiceWorker | null>(null);
let asked = false;

/** A new version waits and no form is open: only then is it offered. */
export const updateReady = computed(() => waiting.value !== null && formsOpen.value === 0);

export async function registerWorker(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (asked) location.reload();
  });
  try {
    const registration = await navigator.serviceWorker.register(workerUrl(), { scope: "/" });
    const look = (): void => {
      if (registration.waiting && navigator.serviceWorker.controller) waiting.value = registration.waiting;
    };
    look();
    registration.addEventListener("updatefound", () => {
      registration.installing?.addEventListener("statechange", look);
    });
    setInterval(() => void registration.update().catch(() => undefined), 3_600_000);
  } catch {
    // Private windows and pages behind a clicked-through certificate have no worker: the app works on, it just cannot start offline.
  }
}

export function takeUpdate(): void {
  asked = true;
  waiting.value?.postMessage({ type: "SKIP_WAITING" });
}

// ---- putting the app on the home screen ----

interface InstallEvent extends Event {
  prompt(): Promise<void>;
  userChoice: Promise<{ outcome: string }>;
}

const offered = ref<InstallEvent | null>(null);
export const canInstall = computed(() => offered.value !== null);

export function watchInstall(): void {
  window.addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    offered.value = event as InstallEvent;
  });
  window.addEventListener("appinstalled", () => {
    offered.value = null;
  });
}

export async function install(): Promise<void> {
  const event = offered.value;
  if (!event) return;
  offered.value = null;
  await event.prompt();
}

// Start of shift: one press makes this phone ready to warn its holder, and what came of it is kept for this person and this shift.
import { computed, type ComputedRef, effectScope, onScopeDispose, type Ref, ref, watch } from "vue";
import { plantTime } from "../../i18n/zone";
import { useShift } from "../shift";
import { useCore, useNow } from "../use";
import { audible, sound, TEST_S, unlock } from "./sound";

export interface Tested {
  shift: string;
  at: number;
  sound: boolean;
  vibration: boolean;
  awake: boolean;
}

const DRAFT = "start-of-shift";
const BUZZ_MS = [300, 120, 300, 120, 600];

let lock: WakeLockSentinel | null = null;
let wanted = false;
/** Whoever locks the space, on whatever screen, lets the phone rest. */
let heeded = false;

/** A page that was out of sight has lost its hold of the screen: whatever screen of ours it comes back to takes it again. */
function seenAgain(): void {
  if (wanted && document.visibilityState === "visible") void stayAwake();
}

/** Keeps the screen on. Resolves to whether it stays on; a screen that goes dark lets go of it by itself. */
async function stayAwake(): Promise<boolean> {
  if (!("wakeLock" in navigator)) return false;
  if (!wanted) document.addEventListener("visibilitychange", seenAgain);
  wanted = true;
  try {
    if (!lock || lock.released) lock = await navigator.wakeLock.request("screen");
    return true;
  } catch {
    // Low battery, or the page is not in front.
    return false;
  }
}

function letSleep(): void {
  document.removeEventListener("visibilitychange", seenAgain);
  wanted = false;
  void lock?.release().catch(() => undefined);
  lock = null;
}

export interface Ready {
  /** none: not tested in this shift · asleep: tested, but the page was loaded anew and sounds only after a touch · on · silent: this browser gives no sound */
  state: ComputedRef<"none" | "asleep" | "on" | "silent">;
  tested: Ref<Tested | undefined>;
  press(): Promise<void>;
}

export function useReady(): Ready {
  const core = useCore();
  const shift = useShift();
  const now = useNow(60_000);
  if (!heeded) effectScope(true).run(() => watch(core.lock, (is) => is !== "open" && letSleep()));
  heeded = true;
  const kept = ref<Tested>();
  const sounds = ref(audible());
  const name = computed(() => {
    if (shift.value) return `${shift.value.day}:${shift.value.name}`;
    const { year, month, day } = plantTime(now.value);
    return `${year}-${month}-${day}`;
  });
  const tested = computed(() => (kept.value?.shift === name.value ? kept.value : undefined));
  const state = computed(() => (!tested.value ? "none" : !tested.value.sound ? "silent" : sounds.value ? "on" : "asleep"));

  void core.draft<Tested>(DRAFT).then((found) => {
    kept.value ??= found;
  });

  async function press(): Promise<void> {
    // Both begin inside the press itself: a browser forgets the touch after the first wait.
    const opening = unlock();
    const vibration = typeof navigator.vibrate === "function" && navigator.vibrate(BUZZ_MS);
    const awake = stayAwake();
    sounds.value = await opening;
    sound(TEST_S);
    kept.value = { shift: name.value, at: core.now(), sound: sounds.value, vibration, awake: await awake };
    await core.keepDraft(DRAFT, kept.value);
  }

  /** After a reload any touch opens the sound again; what was tested stays tested. */
  async function touched(): Promise<void> {
    if (state.value === "none") return;
    if (state.value === "asleep") sounds.value = await unlock();
    if (tested.value?.awake) void stayAwake();
  }
  const seen = (): void => {
    sounds.value = audible();
  };
  const touches = ["click", "touchend", "keydown"] as const;
  for (const touch of touches) window.addEventListener(touch, touched, { capture: true, passive: true });
  document.addEventListener("visibilitychange", seen);
  onScopeDispose(() => {
    for (const touch of touches) window.removeEventListener(touch, touched, { capture: true });
    document.removeEventListener("visibilitychange", seen);
  });
  // The shift is over: the screen may rest, and the next one asks anew.
  watch(tested, (is, was) => {
    if (was && !is) letSleep();
  });

  return { state, tested, press };
}

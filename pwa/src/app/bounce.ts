// A gloved thumb bounces: the second tap of a double one would press what has just come up under it, though it was meant for what is gone. Such a tap
// presses nothing. Two taps on the same key are left alone: digits are typed so.

/** A person who has read a new screen does not press sooner than this. */
export const BOUNCE_MS_MAX = 350;
export const BOUNCE_PX_MAX = 24;

export interface Tap {
  /** ms, by any clock that only goes on */
  at: number;
  x: number;
  y: number;
  /** what it pressed */
  on: unknown;
}

export function bounced(before: Tap | null, now: Tap): boolean {
  if (!before || now.on === before.on || now.at - before.at > BOUNCE_MS_MAX) return false;
  return Math.hypot(now.x - before.x, now.y - before.y) <= BOUNCE_PX_MAX;
}

/** Swallows bounces on the whole page, before any screen hears of them. */
export function ignoreBounces(root: Document): void {
  let before: Tap | null = null;
  let pressed = false;
  root.addEventListener(
    "pointerdown",
    () => {
      pressed = true;
    },
    { capture: true, passive: true },
  );
  root.addEventListener(
    "click",
    (event) => {
      // A click without a finger comes from a keyboard, or from the label that belongs to a field.
      if (!pressed || event.detail === 0) return;
      pressed = false;
      const on = (event.target as Element | null)?.closest?.("a, button, label, input, textarea") ?? event.target;
      const now: Tap = { at: event.timeStamp, x: event.clientX, y: event.clientY, on };
      if (bounced(before, now)) {
        event.preventDefault();
        event.stopImmediatePropagation();
        // A third tap of the same thumb is no better than the second.
        before = { ...now, on: before?.on };
        return;
      }
      before = now;
    },
    { capture: true },
  );
}

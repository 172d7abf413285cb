// What the browser says of the phone's storage: whether it may be cleared behind our back, and how much is left.
import type { StorageState } from "../app/types";

const NEARLY_FULL_SHARE = 0.85;
const ROOM_BYTES_MIN = 40_000_000;

export async function usage(): Promise<StorageState> {
  const storage = globalThis.navigator?.storage;
  const persistent = (await storage?.persisted?.().catch(() => false)) ?? false;
  const estimate = await storage?.estimate?.().catch(() => undefined);
  const used = estimate?.usage ?? 0;
  const quota = estimate?.quota ?? 0;
  const nearlyFull = quota > 0 && (used > quota * NEARLY_FULL_SHARE || quota - used < ROOM_BYTES_MIN);
  return { persistent, used, quota, nearlyFull };
}

export async function askPersistent(): Promise<boolean> {
  return (await globalThis.navigator?.storage?.persist?.().catch(() => false)) ?? false;
}

/** Whether an error means that the phone has no room left. */
export function isFull(error: unknown): boolean {
  for (let e = error as { name?: string; inner?: unknown } | undefined; e; e = e.inner as typeof e) {
    if (e.name === "QuotaExceededError") return true;
  }
  return false;
}

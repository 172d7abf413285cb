// Hybrid logical clock: one integer that orders fields. Twin of backend/sync/hlc.py. Pure: the time is an argument.
//
// (milliseconds since 2024-01-01T00:00:00Z) * 4096 + counter, below 2^53: multiplied and divided, never shifted (shifts are 32-bit). It lasts until 2093.

/** 2024-01-01T00:00:00Z in Unix milliseconds. */
export const EPOCH_MS = 1_704_067_200_000;
export const TICKS_PER_MS = 4096;
export const HLC_MAX = Number.MAX_SAFE_INTEGER;
/** The last Unix millisecond that an hlc can name. */
export const AT_MAX = EPOCH_MS + Math.floor(HLC_MAX / TICKS_PER_MS);
/** A claim further ahead of the server's wall clock than this is not believed. */
export const CLOCK_AHEAD_MS_MAX = 300_000;

/** The first hlc of a Unix millisecond; times outside the range give its nearest end. */
export function fromMs(ms: number): number {
  return (Math.min(Math.max(Math.floor(ms), EPOCH_MS), AT_MAX) - EPOCH_MS) * TICKS_PER_MS;
}

/** The Unix millisecond of an hlc; its counter is dropped. */
export function toMs(hlc: number): number {
  return Math.floor(hlc / TICKS_PER_MS) + EPOCH_MS;
}

/** The hlc of a new op on a device whose latest was `last`: above it, whatever the clock does. */
export function make(last: number, nowMs: number): number {
  return Math.max(fromMs(nowMs), last + 1);
}

/** What a device remembers as its latest after meeting another's. */
export function see(last: number, seen: number): number {
  return Math.max(last, seen);
}

/** The hlc that counts, always above the device's `previous` (0: none), and whether the claim was not believed. `nowMs` is the server's wall clock. */
export function effective(claimed: number, previous: number, nowMs: number): [e: number, suspect: boolean] {
  const suspect = toMs(claimed) - nowMs > CLOCK_AHEAD_MS_MAX;
  return [Math.max(suspect ? fromMs(nowMs) : claimed, previous + 1), suspect];
}

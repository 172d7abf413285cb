// Where areas lie on a plan: shares of its width and height from the upper left corner.
import type { View } from "../app/types";

export interface Spot {
  area: string;
  x: number;
  y: number;
}

/** Shares are kept to a thousandth: finer than a mouse can point. */
const STEPS = 1_000;
/** An arrow key moves by this much. */
export const NUDGE = 0.01;

/** The place of each area: the last one given counts; sets come ordered by clock. */
export function spotsOf(plan: View | undefined): Map<string, Spot> {
  const found = new Map<string, Spot>();
  for (const { area, x, y } of (plan?.spots as Spot[] | undefined) ?? []) found.set(area, { area, x, y });
  return found;
}

export const within = (share: number): number => Math.round(Math.min(1, Math.max(0, share)) * STEPS) / STEPS;

/** A point on screen as a place on the picture that lies in `box`. */
export function placeAt(box: { left: number; top: number; width: number; height: number }, x: number, y: number): { x: number; y: number } {
  return { x: within((x - box.left) / box.width), y: within((y - box.top) / box.height) };
}

const ARROWS: Readonly<Record<string, [number, number]>> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Where an arrow key takes a spot; null for any other key. */
export function nudged(spot: Spot, key: string): Spot | null {
  const way = ARROWS[key];
  return way ? { ...spot, x: within(spot.x + way[0] * NUDGE), y: within(spot.y + way[1] * NUDGE) } : null;
}

// Long work in the page's own thread is done a little at a time, so that a press or a scroll in between is answered within a frame or two.

/** What one slice may take, ms: with style and layout it stays below a long frame on a slow phone too. */
const SLICE_MS_MAX = 8;

/** Lets the browser draw and hear before the work goes on. A message comes at once, where a timer would be held back by 4 ms. */
function pause(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** The beginning of the next frame: what is shown anew then has that frame to itself. A page out of sight draws none and does not wait. */
export function frame(): Promise<void> {
  if (typeof requestAnimationFrame !== "function" || document.visibilityState === "hidden") return Promise.resolve();
  return new Promise((resolve) => requestAnimationFrame(() => resolve()));
}

/** Counts the time of the slice that runs. Ask `over` often, and `pause` when it says so. */
export class Slices {
  private began = performance.now();

  over(): boolean {
    return performance.now() - this.began > SLICE_MS_MAX;
  }

  async pause(): Promise<void> {
    await pause();
    this.began = performance.now();
  }
}

/** `items` in order, in slices; null where `alive` says in between that nobody waits for it any more. */
export async function sortInSlices<T>(
  items: readonly T[],
  compare: (a: T, b: T) => number,
  slices: Slices,
  alive: () => boolean,
): Promise<T[] | null> {
  let runs: T[][] = [];
  for (let i = 0; i < items.length; i += RUN) {
    runs.push(items.slice(i, i + RUN).sort(compare));
    if (slices.over()) await slices.pause();
    if (!alive()) return null;
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let i = 0; i < runs.length; i += 2) {
      const [a, b] = [runs[i] as T[], runs[i + 1] ?? []];
      const out: T[] = [];
      for (let m = 0, n = 0; m < a.length || n < b.length; ) {
        const left = n >= b.length || (m < a.length && compare(a[m] as T, b[n] as T) <= 0);
        out.push((left ? a[m++] : b[n++]) as T);
        if (out.length % RUN === 0 && slices.over()) {
          await slices.pause();
          if (!alive()) return null;
        }
      }
      merged.push(out);
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

const RUN = 256;

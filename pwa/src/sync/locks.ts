// One at a time over all tabs and the worker: the browser's locks end with whoever holds them, so a killed tab blocks nobody.
export type Exclusive = <T>(name: string, work: () => Promise<T>) => Promise<T>;

export const exclusive: Exclusive = <T>(name: string, work: () => Promise<T>) =>
  globalThis.navigator?.locks ? (navigator.locks.request(name, work) as Promise<T>) : here(name, work);

/** The same within one page, for where there are no locks. */
export function alone(): Exclusive {
  const queues = new Map<string, Promise<unknown>>();
  return <T>(name: string, work: () => Promise<T>) => {
    const run = (queues.get(name) ?? Promise.resolve()).then(work, work);
    queues.set(
      name,
      run.catch(() => undefined),
    );
    return run;
  };
}

const here = alone();

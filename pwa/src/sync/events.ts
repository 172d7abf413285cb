// The server's poke while the app is in front. It says only that there is something; what it is comes by pulling.
import { backoff } from "./net";

export interface Listening {
  stop(): void;
}

/** Listen at `url`, again and again, until stopped. The first poke comes with every connection, so nothing said in between is missed. */
export function listen(means: { url(): string; poke(): void }): Listening {
  if (typeof EventSource === "undefined") return { stop: () => undefined };
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let stopped = false;

  const open = (): void => {
    clearTimeout(timer);
    if (stopped || source || document.visibilityState !== "visible" || navigator.onLine === false) return;
    const opened = new EventSource(means.url(), { withCredentials: true });
    source = opened;
    opened.addEventListener("poke", () => {
      failures = 0;
      means.poke();
    });
    opened.addEventListener("alert", () => means.poke());
    opened.addEventListener("error", () => {
      if (opened.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      close();
      timer = setTimeout(open, backoff(++failures));
    });
  };
  const close = (): void => {
    source?.close();
    source = null;
  };
  const look = (): void => {
    if (document.visibilityState === "visible") open();
    else close(); // an app behind another costs nothing
  };
  document.addEventListener("visibilitychange", look);
  window.addEventListener("online", open);
  open();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
      window.removeEventListener("online", open);
      close();
    },
  };
}

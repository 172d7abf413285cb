// What the service worker does when the network comes back and nobody has the app open: it sends the queue and stores the verdicts. The queue is not
// under the PIN; nothing is pulled, no kind is judged, no document is read.
import { DeviceDb } from "../store/device";
import { exclusive } from "./locks";
import { push } from "./push";

/** Rejects where something is still unsent and another try makes sense, so that the browser calls again. */
export async function drain(): Promise<void> {
  const db = new DeviceDb();
  try {
    const fetch = (path: string, init?: RequestInit) => globalThis.fetch(path, { credentials: "same-origin", ...init });
    await exclusive("anlu-sync", () => push({ db, fetch, wall: () => Date.now(), ask: true }));
    if (typeof BroadcastChannel !== "undefined") {
      const channel = new BroadcastChannel("anlu");
      channel.postMessage({ pushed: true });
      channel.close();
    }
  } finally {
    db.close();
  }
}

// The service worker: the app itself from its cache, the queue sent when the network returns. Data is never cached here; it lies in IndexedDB.
import { clientsClaim } from "workbox-core";
import { cleanupOutdatedCaches, createHandlerBoundToURL, precacheAndRoute } from "workbox-precaching";
import { NavigationRoute, registerRoute } from "workbox-routing";
import { drain } from "./sync/worker";

declare const self: ServiceWorkerGlobalScope & { __WB_MANIFEST: { url: string; revision: string | null }[] };
interface SyncEvent extends ExtendableEvent {
  readonly tag: string;
}

precacheAndRoute(self.__WB_MANIFEST);
cleanupOutdatedCaches();
// Every address of the app is the one page, with and without a network; the server's own addresses are left to the network.
registerRoute(
  new NavigationRoute(createHandlerBoundToURL("/index.html"), { denylist: [/^\/api\//, /^\/docs/, /^\/schema/, /\.[a-z0-9]+$/] }),
);

// The first visit is under the worker at once, so that it can go offline at once. A new version waits until it is asked for.
clientsClaim();
self.addEventListener("message", (event) => {
  if ((event.data as { type?: string } | null)?.type === "SKIP_WAITING") void self.skipWaiting();
});

self.addEventListener("sync", (event) => {
  (event as SyncEvent).waitUntil(drain());
});

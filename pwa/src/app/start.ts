// Starts the app over a given data layer: the product's own, or the in-memory one of the tests.
import { createApp } from "vue";
import { startLang } from "../i18n";
import "../ui/tokens.css";
import "../ui/base.css";
import "../ui/parts.css";
import { loadAhead } from "./ahead";
import App from "./App.vue";
import { router } from "./router";
import { startTheme } from "./theme";
import type { Core } from "./types";
import { setCore } from "./use";

export async function start(core: Core): Promise<void> {
  startTheme();
  setCore(core);
  await Promise.all([startLang(), core.boot()]);
  const app = createApp(App);
  app.use(router);
  await router.isReady();
  app.mount("#app");
  loadAhead(router, core);
}

// Starts the app over a given data layer: the product's own, or the in-memory one of the tests.
import { createApp } from "vue";
import { loadCatalogue, startLang, t } from "../i18n";
import "../ui/tokens.css";
import "../ui/base.css";
import "../ui/parts.css";
import { loadAhead } from "./ahead";
import App from "./App.vue";
import { router } from "./router";
import { ignoreBounces } from "./bounce";
import { startTheme } from "./theme";
import { say } from "./toast";
import type { Core } from "./types";
import { setCore } from "./use";

/** A phone has shown its first screen by then. */
const SENTENCES_AFTER_MS = 2_000;

export async function start(core: Core): Promise<void> {
  startTheme();
  setCore(core);
  await Promise.all([startLang(), core.boot()]);
  const app = createApp(App);
  app.use(router);
  ignoreBounces(document);
  // A screen that is not on this phone: not yet fetched, or gone with an update that another tab took.
  router.onError((error) => {
    console.warn(error);
    say(t("nowhere.not_fetched"), true);
  });
  await router.isReady();
  app.mount("#app");
  // A sentence that is said once cannot wait for its words: they are fetched once the first screen stands; a refusal before then asks for them.
  setTimeout(() => void loadCatalogue().catch(() => undefined), SENTENCES_AFTER_MS);
  loadAhead(router, core);
}

import { show } from "../../app/generic/show";
import { fieldsOf, kindTitle } from "../../app/kinds";
import type { View } from "../../app/types";
import { useCore } from "../../app/use";
import { t } from "../../i18n";

/** "班前检查": what occasion it is says more on a small screen than which list. */
export function checkTitle(view: View | undefined): string {
  if (!view) return t("check.any");
  const mode = show(fieldsOf(useCore().kind(view.kind, view.version)).mode, view.mode, 0);
  return mode ? t("check.of", { mode }) : kindTitle(view.kind);
}

import { areaName, machineTitle, nameOf, refView } from "../../app/names";
import type { MediaValue, View } from "../../app/types";
import { label, t } from "../../i18n";

/** What a hazard is called: its title (of a failed item), else its words, else the machine. */
export function hazardTitle(view: View | undefined): string {
  if (!view) return t("doc.not_here");
  const title = label(view.title as string);
  // A check's item says how it should be: as a hazard it is the reverse.
  if (title && view.item) return t("bad.title", { what: title });
  return (
    title ||
    String(view.note || "") ||
    (view.machine ? t("hazards.on", { what: machineTitle(refView("machine", view.machine)) }) : t("hazards.one"))
  );
}

export const hazardWhere = (view: View): string => nameOf(refView("machine", view.machine)) || areaName(view.area);

/** All photos of a hazard: those it was reported with and those added since. */
export function hazardPhotos(view: View): { media: MediaValue; stage: string }[] {
  const own = (view.photos ?? []) as MediaValue[] | MediaValue;
  const first = (Array.isArray(own) ? own : [own]).map((media) => ({ media, stage: "found" }));
  const added = ((view.evidence as { media?: MediaValue | MediaValue[]; stage?: string }[] | undefined) ?? []).flatMap((item) =>
    (Array.isArray(item.media) ? item.media : item.media ? [item.media] : []).map((media) => ({ media, stage: item.stage ?? "found" })),
  );
  const seen = new Set<string>();
  return [...first, ...added].filter(({ media }) => media?.sha256 && !seen.has(media.sha256) && seen.add(media.sha256));
}

// What the outbox shows: one line for each doing, named in words; never an op's raw name.
import { computed, type ComputedRef } from "vue";
import { checkTitle } from "../domains/equipment/words";
import { label, t } from "../i18n";
import { isCheck, kindTitle, setsOf, transitionsOf } from "./kinds";
import { nameOf, refView } from "./names";
import type { MediaItem, OutboxItem, OutboxState, View } from "./types";
import { useCore } from "./use";

export interface Doing {
  key: string;
  doc: string;
  state: OutboxState;
  items: OutboxItem[];
  at: number;
}

/** Ops that follow one another on one document in one state are one doing. */
export function doings(items: OutboxItem[]): Doing[] {
  const out: Doing[] = [];
  for (const item of items) {
    const last = out.find((one) => one.doc === item.doc && one.state === item.state && item.state !== "refused" && item.state !== "parked");
    if (last) last.items.push(item);
    else out.push({ key: item.op, doc: item.doc, state: item.state, items: [item], at: item.at });
  }
  return out;
}

/**
 * What the sync chip counts and the outbox lists. Refused entries and photos that will never be taken are the worker's to see to; the parked ones are a
 * supervisor's, but for those that only wait behind a refused beginning.
 */
export function useStanding(): { refused: ComputedRef<OutboxItem[]>; failed: ComputedRef<MediaItem[]>; parked: ComputedRef<OutboxItem[]> } {
  const { outbox, failed } = useCore();
  const refused = computed(() => outbox.value.filter((item) => item.state === "refused"));
  const stuck = computed(() => new Set(refused.value.flatMap((item) => behind(item).map((one) => one.op))));
  const parked = computed(() => outbox.value.filter((item) => item.state === "parked" && !stuck.value.has(item.op)));
  return { refused, failed, parked };
}

export const kindOf = (doc: string): string => doc.slice(0, doc.indexOf("/"));

/** "班前检查 · 4号行车" */
export function docWords(doc: string): string {
  const core = useCore();
  const kind = kindOf(doc);
  const view = core.get(doc)?.view ?? begunView(doc);
  const on = isCheck(kind) ? nameOf(refView("machine", view?.machine)) : nameOf(view) || nameOf(refView("machine", view?.machine));
  return [isCheck(kind) ? checkTitle(view) : kindTitle(kind), on].filter(Boolean).join(" · ");
}

/** A document whose beginning was refused, by what was said of it. */
function begunView(doc: string): View | undefined {
  const core = useCore();
  const said = core.outbox.value.find((item) => item.doc === doc && item.verb === "new" && item.said)?.said;
  const kind = kindOf(doc);
  return said ? ({ ...said, id: doc.slice(kind.length + 1), kind, version: core.kind(kind)?.version ?? 1, status: "" } as View) : undefined;
}

/** What waits for this refused beginning: entries about a document that is not there. */
export function behind(item: OutboxItem): OutboxItem[] {
  const core = useCore();
  if (item.verb !== "new" || item.state !== "refused" || core.get(item.doc)) return [];
  return core.outbox.value.filter(
    (one) => one.doc === item.doc && one.verb !== "new" && one.state !== "refused" && one.state !== "accepted",
  );
}

/** What was said about the document, in words. */
export function verbWords(item: OutboxItem): string {
  const core = useCore();
  const kind = core.kind(kindOf(item.doc), core.get(item.doc)?.view.version);
  if (item.verb === "new") return t("outbox.new");
  if (item.verb === "act") return label(transitionsOf(kind)[item.what]?.title) || t("outbox.act");
  if (item.verb === "add") return label(setsOf(kind)[item.what]?.title) || t("outbox.add");
  return t("outbox.set");
}

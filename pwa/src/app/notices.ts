// What the server found and nobody has said to have seen: most urgent first, and among equals what has waited longest.
import { computed, type ComputedRef } from "vue";
import { refusal } from "../i18n";
import type { LevelName } from "../ui/icons";
import { levelOf } from "./kinds";
import type { Doc, View } from "./types";
import { useCore } from "./use";

const ORDER: LevelName[] = ["red", "orange", "yellow", "blue"];

export const noticeLevel = (view: View): LevelName => levelOf(view.level);

/** The sentence that says what happened, and what to do about it. */
export function noticeText(view: View): { why: string; what: string } {
  return refusal(String(view.what ?? ""), (view.params as Record<string, unknown> | null) ?? {});
}

export function byUrgency(docs: readonly Doc[]): Doc[] {
  const rank = (doc: Doc): number => ORDER.indexOf(noticeLevel(doc.view));
  return [...docs].sort((a, b) => rank(a) - rank(b) || Number(a.view.at ?? 0) - Number(b.view.at ?? 0));
}

export function useNotices(): ComputedRef<Doc[]> {
  const open = useCore().list("notice", (doc) => doc.view.status === "open");
  return computed(() => byUrgency(open.value));
}

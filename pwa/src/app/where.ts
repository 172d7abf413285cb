// Where a document is opened: its own screen where it has one, else the generic one.
import { isCheck, isOpen } from "./kinds";
import type { Doc } from "./types";
import { useCore } from "./use";

export function docPath(key: string): string {
  const at = key.indexOf("/");
  const kind = key.slice(0, at);
  const id = key.slice(at + 1);
  if (kind === "machine") return `/machines/${id}`;
  if (kind === "hazard") return `/hazards/${id}`;
  if (kind === "round") return `/rounds/${id}`;
  if (isCheck(kind)) {
    const core = useCore();
    const view = core.get(key)?.view;
    return `/checks/${kind}/${id}${!view || isOpen(core.kind(kind, view.version), view.status) ? "" : "/result"}`;
  }
  return `/k/${kind}/${id}`;
}

/** Newest first, by whichever time of its life a document carries. */
export const bornAt = (doc: Doc): number => Number(doc.view.reported_at ?? doc.view.started_at ?? doc.view.at ?? 0);

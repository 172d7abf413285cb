// Where a document is opened: its own screen where it has one, else the generic one.
import { isCheck } from "./kinds";
import type { Doc } from "./types";
import { useCore } from "./use";

export function docPath(key: string): string {
  const at = key.indexOf("/");
  const kind = key.slice(0, at);
  const id = key.slice(at + 1);
  if (kind === "machine") return `/machines/${id}`;
  if (kind === "hazard") return `/hazards/${id}`;
  if (isCheck(kind)) {
    const status = useCore().get(key)?.view.status;
    return `/checks/${kind}/${id}${status === undefined || status === "open" ? "" : "/result"}`;
  }
  return `/k/${kind}/${id}`;
}

/** Newest first, by whichever time of its life a document carries. */
export const bornAt = (doc: Doc): number =>
  Number(doc.view.reported_at ?? doc.view.found_at ?? doc.view.started_at ?? doc.view.at ?? doc.view.created_at ?? 0);

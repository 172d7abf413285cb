// Which photos an op names.
import type { OpRow } from "../store/device";

/** The sha256 of every media value anywhere in what an op says. */
export function mediaIn(value: unknown, found: string[] = []): string[] {
  if (Array.isArray(value)) for (const each of value) mediaIn(each, found);
  else if (value && typeof value === "object") {
    const { sha256: sha } = value as { sha256?: unknown };
    if (typeof sha === "string" && /^[0-9a-f]{64}$/.test(sha)) found.push(sha);
    else for (const each of Object.values(value)) mediaIn(each, found);
  }
  return found;
}

/** What a photo waits for: its op was taken and it may go; its op is still to go; its op was refused; no op names it, it stands in a form. */
export type PhotoOf = "taken" | "queued" | "refused" | "form";

const NEAREST: PhotoOf[] = ["form", "refused", "queued", "taken"];

/**
 * What each photo that ops on this phone name waits for, and the document that names it. What the worker has put aside as refused is waited for no
 * more.
 */
export function photosOf(ops: Iterable<Pick<OpRow, "media" | "state" | "dismissed" | "doc">>): Map<string, { of: PhotoOf; doc: string }> {
  const found = new Map<string, { of: PhotoOf; doc: string }>();
  for (const { media, state, dismissed, doc } of ops) {
    if (state === "refused" && dismissed) continue;
    const of = state === "queued" || state === "refused" ? state : "taken";
    for (const sha of media ?? []) if (NEAREST.indexOf(of) > NEAREST.indexOf(found.get(sha)?.of ?? "form")) found.set(sha, { of, doc });
  }
  return found;
}

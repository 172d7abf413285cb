// Takes in what another phone could not send and gave out as a file (`exported` in outbox.ts). Bundles are signed and photos are known by their hash, so
// whoever is signed in may carry them; the server takes each once, however often the file is taken in.
import { AppError } from "../app/types";
import { type Fetch, HttpError, json, send } from "./net";
import type { Verdict } from "./outbox";

interface Bundle {
  jwe?: string;
  bundle?: string;
  signature?: string;
  first?: number;
  last?: number;
}

interface Photo {
  sha256: string;
  type: string;
  jwe?: string;
  data?: string;
}

export interface Cargo {
  /** ISO 8601 */
  made: string;
  device: number | null;
  bundles: Bundle[];
  photos: Photo[];
}

/** What became of one entry or photo of the file. `failed`: it is not on the server, for the reason in `code`. `n`: its number in its phone's queue. */
export interface Carried {
  what: "op" | "photo";
  state: "ok" | "refused" | "parked" | "failed";
  n?: number;
  /** of entries that failed together: the number of the last one */
  last?: number;
  code?: string;
  params?: Record<string, unknown>;
}

/** The file's content. Throws AppError `file.not_ours`, `file.damaged`, `file.newer`. */
export function readCargo(text: string): Cargo {
  let said: Record<string, unknown>;
  try {
    said = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // A file that was cut still begins as ours do.
    throw new AppError(/^\s*\{\s*"anlu"/.test(text) ? "file.damaged" : "file.not_ours");
  }
  if (said?.anlu !== "queue") throw new AppError("file.not_ours");
  if (said.v !== 1) throw new AppError("file.newer");
  const { made, device, bundles, photos = [] } = said;
  const text_or_none = (value: unknown): boolean => value === undefined || typeof value === "string";
  const bundleFits = (one: Bundle): boolean =>
    typeof one?.jwe === "string" || (typeof one?.bundle === "string" && typeof one.signature === "string");
  const photoFits = (one: Photo): boolean => typeof one?.jwe === "string" || typeof one?.data === "string";
  if (!text_or_none(made) || !Array.isArray(bundles) || !Array.isArray(photos)) throw new AppError("file.damaged");
  if (!bundles.every(bundleFits) || !photos.every(photoFits)) throw new AppError("file.damaged");
  return { made: String(made ?? ""), device: typeof device === "number" ? device : null, bundles, photos };
}

export interface CarryMeans {
  fetch: Fetch;
  /** of whoever is signed in and carries it */
  headers: Record<string, string>;
}

/** Bring everything to the server, entries before the photos they name; each result as it comes. Throws Offline where the network ends: take it in again. */
export async function* carry({ fetch, headers }: CarryMeans, cargo: Cargo): AsyncGenerator<Carried[]> {
  for (const one of cargo.bundles) {
    try {
      const how: Record<string, string> = one.jwe
        ? { "Content-Type": "application/jose" }
        : { "Content-Type": "application/json", "Anlu-Signature": one.signature ?? "" };
      const body = one.jwe ?? one.bundle ?? "";
      const { verdicts } = await json<{ verdicts: Verdict[] }>(await send(fetch, "/api/sync/push", { method: "POST", headers: how, body }));
      yield verdicts.map(({ n, state, code, params }) => ({ what: "op", n, state, code, params }));
    } catch (error) {
      yield [{ what: "op", n: one.first, last: one.last, ...failure(error) }];
    }
  }
  for (const one of cargo.photos) {
    const how = { ...headers, "Content-Type": one.jwe ? "application/jose" : "application/octet-stream" };
    try {
      const body = one.jwe ?? bytesOf(one.data ?? "");
      await send(fetch, "/api/media/carried", { method: "POST", headers: how, body });
      yield [{ what: "photo", state: "ok" }];
    } catch (error) {
      yield [
        error instanceof HttpError && error.code === "media.already_here"
          ? { what: "photo", state: "ok" }
          : { what: "photo", ...failure(error) },
      ];
    }
  }
}

/** What cannot become better by going on ends it: no network, no session, a server that is down. */
function failure(error: unknown): Pick<Carried, "state" | "code" | "params"> {
  if (error instanceof HttpError && error.status < 500 && !error.code.startsWith("auth."))
    return { state: "failed", code: error.code, params: error.params };
  throw error;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  } catch {
    throw new HttpError(422, "media.broken", {}, null);
  }
}

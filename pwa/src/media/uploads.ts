// Photos wait apart from ops, so that a picture never holds up a word. Each is on disk before its document names it, goes up in checksummed pieces once
// the op that names it has been taken, goes on where it broke, and leaves the phone when the server has it.
import { AppError, type MediaValue } from "../app/types";
import type { DeviceDb, MediaRow } from "../store/device";
import { isFull } from "../store/usage";
import type { HttpRequest, HttpResponse } from "tus-js-client";
import { base64, hex, sha256 } from "../sync/crypto";
import type { Fetch } from "../sync/net";
import { type PhotoOf, photosOf } from "./named";
import type { Photo } from "./photo";

/** Small enough that a slow line shows progress and loses little when it breaks. */
export const PIECE_BYTES = 256 * 1024;
/** The answer to the last piece comes after the server has checked the photo. */
const SILENCE_MS_MAX = 90_000;
/** A photo that no op names: its form was never sent, and no draft holds it any more. */
const UNNAMED_KEPT_MS = 14 * 86_400_000;

export async function keep(db: DeviceDb, photo: Photo, author: string, at: number): Promise<MediaValue> {
  const sha = hex(await sha256(new Uint8Array(photo.bytes)));
  const { type, w, h } = photo;
  const size = photo.bytes.byteLength;
  try {
    await db.transaction("rw", db.media, async () => {
      const known = await db.media.get(sha);
      // The same bytes once more, after they were refused: asked again, so that the worker hears it again and not that they are sent.
      if (known?.state === "sent" || (known?.bytes && known.state !== "failed" && known.state !== "aside")) return;
      await db.media.put({ sha256: sha, type, size, w, h, bytes: photo.bytes, author, at, sent: 0, state: "queued", url: null });
    });
  } catch (error) {
    if (isFull(error)) throw new AppError("storage.full");
    throw error;
  }
  return { sha256: sha, type, size, w, h };
}

/** sha256 of the photos that ops on this phone name, and what each waits for. */
export async function named(db: DeviceDb): Promise<Map<string, { of: PhotoOf; doc: string }>> {
  return photosOf(await db.ops.filter((row) => row.media?.length > 0).toArray());
}

export interface UploadMeans {
  db: DeviceDb;
  fetch: Fetch;
  /** address of our server; empty in the browser */
  origin: string;
  wall(): number;
  changed(): void;
}

/** Send every photo that is due, one after the other. Returns false if some could not be sent now. */
export async function upload(means: UploadMeans): Promise<boolean> {
  const { db } = means;
  const due = await named(db);
  const waiting = (await db.media.toArray())
    .filter((row) => row.bytes && ["queued", "sending"].includes(row.state) && ["taken", "refused"].includes(due.get(row.sha256)?.of ?? ""))
    .sort((a, b) => a.at - b.at);
  let all = true;
  for (const row of waiting) all = (await one(means, row)) && all;
  return all;
}

async function one(means: UploadMeans, row: MediaRow): Promise<boolean> {
  const { db } = means;
  const { Upload } = await import("tus-js-client");
  const bytes = new Uint8Array(row.bytes as ArrayBuffer);
  const note = async (change: Partial<MediaRow>): Promise<void> => {
    try {
      await db.media.update(row.sha256, change);
    } catch (error) {
      // On a full phone a photo goes up all the same: that is what makes room. What is on the server is let go of at once.
      if (!isFull(error)) throw error;
      if (change.state === "sent") await db.media.delete(row.sha256);
    }
    means.changed();
  };
  await note({ state: "sending", code: undefined });
  return new Promise((resolve) => {
    const task = new Upload(new Blob([bytes as BlobPart]), {
      endpoint: `${means.origin}/api/media/uploads`,
      uploadUrl: row.url,
      httpStack: { createRequest: (method, url) => new Request(means.fetch, method, url), getName: () => "fetch" },
      fileReader: { openFile: async () => pieces(bytes) },
      fingerprint: async () => row.sha256,
      metadata: { sha256: row.sha256, type: row.type },
      chunkSize: PIECE_BYTES,
      retryDelays: [1_000, 4_000],
      storeFingerprintForResuming: false,
      onBeforeRequest: async (request) => {
        if (request.getMethod() !== "PATCH") return;
        const from = Number(request.getHeader("Upload-Offset"));
        const piece = bytes.subarray(from, Math.min(from + PIECE_BYTES, bytes.length));
        request.setHeader("Upload-Checksum", `sha256 ${base64(await sha256(piece))}`);
      },
      onUploadUrlAvailable: () => void note({ url: task.url }),
      onChunkComplete: (_, sent) => void note({ sent }),
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        return status === 0 || status >= 500 || status === 429 || status === 423;
      },
      onSuccess: () => void note({ state: "sent", sent: row.size, url: null }).then(() => resolve(true)),
      onError: (error) => {
        const response = "originalResponse" in error ? error.originalResponse : null;
        const status = response?.getStatus() ?? 0;
        const code = codeOf(response?.getBody()) ?? response?.getHeader("Anlu-Code") ?? undefined;
        let change: Partial<MediaRow>;
        if (code === "media.already_here") change = { state: "sent", sent: row.size, url: null, code: undefined };
        // These bytes will never be taken: kept, with the reason, so that the worker can take the photo again.
        else if (status === 422 || status === 413 || status === 415) change = { state: "failed", code: code ?? "media.refused" };
        // The upload's place on the server is gone: the next try begins anew.
        else if (status === 460 || status === 404 || status === 410) change = { state: "queued", sent: 0, url: null, code };
        else change = { state: "queued", code };
        void note(change).then(() => resolve(change.state === "sent" || change.state === "failed"));
      },
    });
    task.start();
  });
}

/** Slices of a photo, the same in every browser. */
function pieces(bytes: Uint8Array) {
  const slice = async (from: number, to: number) => {
    const end = Math.min(to, bytes.length);
    return { value: new Blob([bytes.subarray(from, end) as BlobPart]), done: end >= bytes.length };
  };
  return { size: bytes.length, slice, close: () => undefined };
}

/** A request of tus over fetch, as everything else of ours goes. */
class Request implements HttpRequest {
  private readonly headers: Record<string, string> = {};
  private readonly stop = new AbortController();

  constructor(
    private readonly fetch: Fetch,
    private readonly method: string,
    private readonly url: string,
  ) {}

  getMethod = () => this.method;
  getURL = () => this.url;
  getHeader = (name: string) => this.headers[name];
  setHeader(name: string, value: string): void {
    this.headers[name] = value;
  }
  // Progress is told by the piece, see onChunkComplete.
  setProgressHandler(): void {}
  getUnderlyingObject = () => null;
  async abort(): Promise<void> {
    this.stop.abort();
  }

  async send(body: Blob | null): Promise<HttpResponse> {
    const timer = setTimeout(() => this.stop.abort(), SILENCE_MS_MAX);
    try {
      const response = await this.fetch(this.url, { method: this.method, headers: this.headers, body, signal: this.stop.signal });
      const text = await response.text();
      return {
        getStatus: () => response.status,
        getHeader: (name) => response.headers.get(name) ?? undefined,
        getBody: () => text,
        getUnderlyingObject: () => response,
      };
    } finally {
      clearTimeout(timer);
    }
  }
}

function codeOf(body: string | undefined): string | undefined {
  try {
    const { code } = JSON.parse(body ?? "") as { code?: unknown };
    return typeof code === "string" ? code : undefined;
  } catch {
    return undefined;
  }
}

/** The worker has seen that the server will never take this photo, and is done with it. Its bytes stay a while, for the phone that shows it. */
export async function setAside(db: DeviceDb, sha: string): Promise<void> {
  await db.media
    .where("sha256")
    .equals(sha)
    .filter((row) => row.state === "failed")
    .modify({ state: "aside" });
}

/** Throw out what nobody will send any more: unnamed and old, long put aside, or long sent. */
export async function tidyMedia(db: DeviceDb, now: number): Promise<void> {
  const due = await named(db);
  const drafts = JSON.stringify(await db.drafts.toArray());
  const old = (await db.media.toArray()).filter(
    (row) =>
      row.at < now - UNNAMED_KEPT_MS &&
      (row.state === "sent" || row.state === "aside" || (!due.has(row.sha256) && !drafts.includes(row.sha256))),
  );
  await db.media.bulkDelete(old.map((row) => row.sha256));
}

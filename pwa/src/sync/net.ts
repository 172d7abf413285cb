// One way to the server: our own address, one shape of error, and a time after which silence counts as a broken line.
import { AppError } from "../app/types";

/** The server answered, and not with a yes. */
export class HttpError extends AppError {
  constructor(
    readonly status: number,
    code: string,
    params: Record<string, unknown>,
    /** when to try again, ms from now, if the server said */
    readonly retryAfter: number | null,
  ) {
    super(code, params);
  }
}

/** `net.offline`: no answer came. */
export class Offline extends AppError {
  constructor() {
    super("net.offline");
  }
}

export type Fetch = (path: string, init?: RequestInit) => Promise<Response>;

const SILENCE_MS_MAX = 45_000;
/** A line slower than 32 kbit/s counts as none. */
const SLOWEST_BYTES_PER_MS = 4;

/** Send a request; returns the answer if it is a yes, throws HttpError or Offline. */
export async function send(fetch: Fetch, path: string, init: RequestInit = {}): Promise<Response> {
  const silence = new AbortController();
  const { body } = init;
  const bytes = typeof body === "string" ? body.length : ((body as Uint8Array | null | undefined)?.byteLength ?? 0);
  const timer = setTimeout(() => silence.abort(), SILENCE_MS_MAX + bytes / SLOWEST_BYTES_PER_MS);
  let response: Response;
  try {
    response = await fetch(path, { ...init, signal: silence.signal });
  } catch {
    throw new Offline();
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return response;
  throw await refusal(response);
}

export async function json<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch {
    throw new Offline(); // the answer was cut
  }
}

async function refusal(response: Response): Promise<HttpError> {
  const after = Number(response.headers.get("retry-after"));
  const retryAfter = Number.isFinite(after) && after > 0 ? after * 1000 : null;
  try {
    const said = (await response.json()) as { code?: unknown; params?: unknown };
    if (typeof said.code === "string") {
      return new HttpError(response.status, said.code, (said.params as Record<string, unknown>) ?? {}, retryAfter);
    }
  } catch {
    // A proxy's page or a cut answer: the status says enough.
  }
  const code = response.status === 429 ? "http.rate" : response.status === 413 ? "http.too_large" : "http.internal";
  return new HttpError(response.status, code, {}, retryAfter);
}

const BACKOFF_MS_MIN = 2_000;
const BACKOFF_MS_MAX = 300_000;

/** How long to wait after the `failures`-th failure in a row: doubling, with jitter, so that a plant's phones do not come back at once. */
export function backoff(failures: number, random: () => number = Math.random): number {
  const whole = Math.min(BACKOFF_MS_MIN * 2 ** Math.min(failures - 1, 16), BACKOFF_MS_MAX);
  return Math.round(whole * (0.5 + random() / 2));
}

/** How long to wait after an error: as long as the server said, and up to half as long again; else `backoff`. */
export function pause(error: unknown, failures: number, random: () => number = Math.random): number {
  const said = error instanceof HttpError ? error.retryAfter : null;
  return said === null ? backoff(failures, random) : Math.round(said * (1 + random() / 2));
}

/** The lines of an NDJSON answer as they come. Throws Offline where the line goes silent or is cut in the middle. */
export async function* lines(response: Response): AsyncGenerator<Record<string, unknown>> {
  const reader = response.body?.getReader();
  if (!reader) throw new Offline();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await soon(reader.read());
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const parts = rest.split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) if (part) yield parse(part);
      if (done) break;
    }
    if (rest) yield parse(rest);
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

function parse(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    throw new Offline(); // cut in the middle: what came before it stands
  }
}

async function soon<T>(promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Offline()), SILENCE_MS_MAX);
  });
  try {
    return await Promise.race([promise, silence]);
  } catch {
    throw new Offline();
  } finally {
    clearTimeout(timer);
  }
}

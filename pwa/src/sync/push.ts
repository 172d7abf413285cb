// Sends the queue. Everything here may be stopped at any point and done again: the server answers the same op with the same verdict, and what was
// answered is stored in one transaction before the next part goes out. Needs no session; runs in the page and in the service worker.
import { type BundleRow, type DeviceDb, type DeviceRow, FRESH_CLOCK } from "../store/device";
import { newDeviceKey, publicKeyText, prove, sealToServer, verifyToken } from "./crypto";
import { toMs } from "./hlc";
import { type Fetch, HttpError, json, send } from "./net";
import { contact, envelope, FULL, judge, type Limits, type Part, part, question, type Verdict } from "./outbox";

/** When a request left and its answer came, by the phone's wall clock: how far the server's time in it can be trusted. */
export interface Timed {
  sent: number;
  came: number;
}

export interface PushAnswer extends Timed {
  have: number;
  epoch: string;
  now: number;
  receipt: string;
  verdicts: Verdict[];
}

/** What sign-in, set-up, PIN reset and refresh answer. */
export interface SignedIn extends Timed {
  person: { id: string; name: string; names: { zh: string; en: string }; caps: Record<string, string[]> };
  device: number;
  certificate: string;
  author_token: string;
  keys: { keys: JsonWebKey[] };
  epoch: string;
  now: number;
}

export interface Trouble {
  code: string;
  params: Record<string, unknown>;
}

export interface Means {
  db: DeviceDb;
  fetch: Fetch;
  /** the phone's wall clock, Unix ms */
  wall(): number;
  /** ops are on their way, or no longer */
  sending?(ops: readonly string[]): void;
  /** whether a session is at hand to register a new device under after a fork */
  registerAnew?: () => Promise<void>;
  /** say something even if there is nothing to send, so that the server meets this phone's certificate and the phone a restored server */
  ask?: boolean;
}

/** More rounds than any queue needs: a server that answers nonsense must not keep a phone busy for ever. */
const PARTS_MAX = 10_000;
const COMPRESSED_BYTES_MIN = 2_000;

/**
 * Push until the queue is empty. Returns what stands in the way, if anything: `device.forked`, `auth.*`, `sync.*`. Throws Offline, and HttpError
 * for 429 and 5xx: come back later.
 */
export async function push(means: Means): Promise<Trouble | null> {
  const { db } = means;
  try {
    if ((await db.read("forked")) !== undefined) {
      if (!means.registerAnew) return { code: "device.forked", params: {} };
      await means.registerAnew();
    }
    if (await db.read("resend")) await resend(means);
    if (means.ask) await ask(means);
    const device = await db.device();
    if (device) await drain(means, device, device.acked);
    // A restored server shows itself in an answer: what it has forgotten goes again at once, before anybody pulls.
    if (await db.read("resend")) await resend(means);
    await sealKept(db);
    return null;
  } catch (error) {
    if (error instanceof Stop) return error.trouble;
    if (error instanceof HttpError && error.status < 500 && error.status !== 429) return { code: error.code, params: error.params };
    throw error;
  }
}

class Stop extends Error {
  constructor(readonly trouble: Trouble) {
    super(trouble.code);
  }
}

/** Look where the current queue stands. Also without word of a new epoch: who has less than it acknowledged has forgotten it. */
async function ask(means: Means): Promise<void> {
  const { db } = means;
  const device = await db.device();
  if (!device) return;
  await goingOn(means, device, async () => {
    if ((await standing(means, device)) < device.acked) await db.write("resend", true);
  });
}

/** The server was restored from an older backup: ask for each queue of this phone how far it is known, and send what is missing. */
async function resend(means: Means): Promise<void> {
  const { db } = means;
  // What the server judged in its lost life it judges again, or stands by what the backup has: that may be an older word than the one here.
  await db.ops.where("state").notEqual("queued").modify({ seq: 0 });
  for (const device of await db.devices.toArray()) await drain(means, device);
  await db.drop("resend");
}

/** Up to where the server has this queue, as it says now. */
async function standing(means: Means, device: DeviceRow): Promise<number> {
  const { bundle, signature } = await question(means.db, device);
  try {
    const answer = await post(means, bundle, signature);
    await listen(means, answer);
    return answer.have;
  } catch (error) {
    if (!(error instanceof HttpError) || error.code !== "sync.gap") throw error;
    return Number(error.params.have);
  }
}

/** Send what a queue has above `from`; without it, above what the server says it has. */
function drain(means: Means, device: DeviceRow, from?: number): Promise<void> {
  return goingOn(means, device, async () => {
    // Not past what was answered: the server may have more, and its verdicts on that never came.
    await sendAbove(means, device, from ?? Math.min(await standing(means, device), device.acked));
  });
}

/** Work with a queue; where the server knows it otherwise than this phone, what was not taken goes on in a new one. */
async function goingOn(means: Means, device: DeviceRow, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof HttpError) || error.code !== "device.forked") throw error;
    await fork(means.db, device.number);
    if (!means.registerAnew) throw new Stop({ code: "device.forked", params: {} });
    await means.registerAnew();
    const anew = await means.db.device();
    if (anew) await drain(means, anew, anew.acked);
  }
}

async function sendAbove(means: Means, device: DeviceRow, from: number): Promise<void> {
  const { db } = means;
  let have = from;
  let limits: Limits = FULL;
  let asked: number | undefined;
  for (let parts = 0; parts < PARTS_MAX; parts++) {
    const now = (await db.devices.get(device.number)) as DeviceRow;
    const next = await part(db, now, have, limits);
    if (!next) return;
    // Numbers are given up only to a server that has just said where it stands: a restored one may lack what is still kept here.
    if (next.what === "lost" && asked !== have) {
      asked = have = Math.min(await standing(means, now), next.last);
      continue;
    }
    try {
      means.sending?.(next.what === "kept" ? [] : next.rows.map((row) => row.op));
      const answer = await deliver(means, next);
      await acknowledge(means, now, next, answer);
      if (answer.have > now.n) await fork(db, now.number); // the server knows more of this queue than this phone does
      have = next.last; // whatever more the server has, its verdicts are still to come
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      if (error.code === "sync.gap" && typeof error.params.have === "number" && error.params.have !== have) have = error.params.have;
      else if (error.status === 413 && next.what === "ops" && next.rows.length > 1) {
        const half = Math.ceil(next.rows.length / 2);
        limits = { ops: half, bytes: Math.ceil(next.bundle.length / 2) };
      } else throw error;
    } finally {
      means.sending?.([]);
    }
  }
}

function deliver(means: Means, next: Part): Promise<PushAnswer> {
  if (next.what !== "kept") return post(means, next.bundle, next.signature);
  return asked(means, { "Content-Type": "application/jose" }, next.jwe);
}

async function post(means: Means, bundle: Uint8Array, signature: string): Promise<PushAnswer> {
  const headers: Record<string, string> = { "Content-Type": "application/json", "Anlu-Signature": signature };
  let body = bundle as Uint8Array<ArrayBuffer>;
  if (bundle.length > COMPRESSED_BYTES_MIN && typeof CompressionStream !== "undefined") {
    body = await gzip(body);
    headers["Content-Encoding"] = "gzip"; // the signature is over the bytes before it
  }
  return asked(means, headers, body);
}

async function asked({ fetch, wall }: Means, headers: Record<string, string>, body: string | Uint8Array<ArrayBuffer>): Promise<PushAnswer> {
  const sent = wall();
  const answer = await json<PushAnswer>(await send(fetch, "/api/sync/push", { method: "POST", headers, body }));
  return { ...answer, sent, came: wall() };
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

/** The server's word on a part: checked, then stored with everything that follows from it in one transaction. */
async function acknowledge(means: Means, device: DeviceRow, next: Part, answer: PushAnswer): Promise<void> {
  const { db } = means;
  await checkReceipt(means, next, answer);
  await db.transaction("rw", db.ops, db.devices, db.bundles, db.meta, async () => {
    await judge(db, answer.verdicts);
    const now = await db.devices.get(device.number);
    await db.devices.update(device.number, { acked: Math.max(now?.acked ?? 0, next.last) });
    if (next.what === "ops") {
      const { first, last, bundle, signature } = next;
      const plain = { bundle: new TextDecoder().decode(bundle), signature, receipt: answer.receipt };
      await db.bundles
        .where("[device+first]")
        .equals([device.number, first])
        .filter((kept) => kept.last <= last)
        .delete();
      await db.bundles.add({ device: device.number, first, last, at: toMs(answer.now), sealed: null, plain });
    }
    await hear(db, answer);
  });
  await sealKept(db);
}

async function listen(means: Means, answer: PushAnswer): Promise<void> {
  await means.db.transaction("rw", means.db.ops, means.db.meta, async () => {
    await judge(means.db, answer.verdicts);
    await hear(means.db, answer);
  });
}

/** Take over the server's time and epoch. Call inside a transaction on `meta`. */
export async function hear(db: DeviceDb, said: { epoch: string; now: number } & Timed): Promise<void> {
  await db.write("clock", contact((await db.read("clock")) ?? FRESH_CLOCK, said.now, said.sent, said.came));
  const known = await db.read("epoch");
  if (known !== said.epoch) {
    await db.write("epoch", said.epoch);
    if (known !== undefined) await db.write("resend", true);
  }
}

async function checkReceipt(means: Means, next: Part, answer: PushAnswer): Promise<void> {
  const { db } = means;
  const check = async () => verifyToken(answer.receipt, "receipt", (await db.read("keys")) ?? []);
  let claims: Record<string, unknown>;
  try {
    claims = await check().catch(async () => {
      await freshKeys(means);
      return check();
    });
  } catch {
    throw new Stop({ code: "sync.receipt", params: {} });
  }
  const named = new Set<unknown>();
  for (const entry of [claims.ops, claims.verdicts].flat() as unknown[])
    named.add(typeof entry === "string" ? entry : ((entry as { op?: unknown })?.op ?? entry));
  for (const list of Array.isArray(claims.verdicts) ? claims.verdicts : []) if (Array.isArray(list)) named.add(list[0]);
  const said = next.what === "ops" ? next.rows.map((row) => row.op) : [];
  if (claims.epoch !== answer.epoch || said.some((op) => !named.has(op))) throw new Stop({ code: "sync.receipt", params: {} });
}

/** A key the phone has not met: the server has a new one. Known keys are never replaced. */
async function freshKeys({ db, fetch }: Means): Promise<void> {
  const { keys } = await json<{ keys: JsonWebKey[] }>(await send(fetch, "/api/auth/keys"));
  await pin(db, keys);
}

type Kid = JsonWebKey & { kid?: string };

/** Remember the server's keys, the newest first. */
export async function pin(db: DeviceDb, keys: readonly JsonWebKey[]): Promise<void> {
  await db.transaction("rw", db.meta, async () => {
    const held = (await db.read("keys")) ?? [];
    const known = new Map(held.map((key) => [(key as Kid).kid, key]));
    const first = keys.map((key) => known.get((key as Kid).kid) ?? key);
    const rest = held.filter((key) => !keys.some((other) => (other as Kid).kid === (key as Kid).kid));
    await db.write("keys", [...first, ...rest]);
  });
}

/** Turn what was acknowledged into what only the server can open. A bundle that cannot be sealed now stays for the next time. */
async function sealKept(db: DeviceDb): Promise<void> {
  const plain = await db.bundles.filter((bundle) => bundle.sealed === null).toArray();
  if (!plain.length) return;
  const keys = (await db.read("keys")) ?? [];
  for (const { id, plain: open } of plain as Required<BundleRow>[]) {
    try {
      const sealed = await sealToServer(envelope(new TextEncoder().encode(open.bundle), open.signature, open.receipt), keys);
      await db.bundles
        .where("id")
        .equals(id)
        .modify((row) => {
          row.sealed = sealed;
          delete row.plain;
        });
    } catch {
      return;
    }
  }
}

// ---- a forked queue ----

/** This queue went on elsewhere too: a cloned or rolled-back phone. Nothing is sent under its number any more. */
async function fork(db: DeviceDb, number: number): Promise<void> {
  await db.write("forked", number);
}

/** What registration sends of a key: a new one, with the old number as predecessor if its queue forked; or the proof that this phone has a number. */
export async function deviceForSignIn(db: DeviceDb, nonce: () => Promise<string>, label: string): Promise<Record<string, unknown>> {
  const device = await db.device();
  const forked = await db.read("forked");
  if (device && forked === undefined) return prove(device, await nonce());
  let pair = await db.read("nextKey");
  if (!pair) {
    pair = await newDeviceKey();
    await db.write("nextKey", pair);
  }
  const fresh = { label, public_key: await publicKeyText(pair.publicKey) };
  const old = forked === undefined ? undefined : await db.devices.get(forked);
  return old ? { ...fresh, predecessor: await prove(old, await nonce()) } : fresh;
}

/** The server gave this phone a number (or a new certificate for the one it has). After a fork what was not taken goes to the new queue. */
export async function takeDevice(db: DeviceDb, number: number, certificate: string): Promise<void> {
  await db.transaction("rw", db.devices, db.ops, db.meta, async () => {
    const known = await db.devices.get(number);
    if (known) {
      await db.devices.update(number, { certificate });
      await db.write("current", number);
      return;
    }
    const pair = await db.read("nextKey");
    if (!pair) throw new Error("a device number came for a key that this phone does not hold");
    const forked = await db.read("forked");
    const waiting =
      forked === undefined ? [] : await db.ops.where("[device+n]").between([forked, 0], [forked, Number.MAX_SAFE_INTEGER]).toArray();
    const unsent = waiting.filter((row) => row.state === "queued").sort((a, b) => a.n - b.n);
    const { privateKey, publicKey } = pair;
    await db.devices.add({ number, privateKey, publicKey, certificate, n: unsent.length, acked: 0 });
    for (const [i, row] of unsent.entries()) await db.ops.update(row.op, { device: number, n: i + 1 });
    if (forked !== undefined) {
      const old = await db.devices.get(forked);
      // The old queue ends where the server last agreed.
      if (old) await db.devices.update(forked, { n: old.acked });
    }
    await db.write("current", number);
    await db.drop("nextKey");
    await db.drop("forked");
  });
}

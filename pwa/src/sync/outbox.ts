// The queue of what was said on this phone. An op is serialised once, gets its place and is on disk before anybody hears that it was said; from then
// on it is in the ledger or here. The queue is the phone's, not the PIN's: it can always be sent.
import { AppError } from "../app/types";
import { mediaIn } from "../media/named";
import { type Clock, type DeviceDb, type DeviceRow, FRESH_CLOCK, type OpRow, type TokenRow } from "../store/device";
import { isFull } from "../store/usage";
import { base64, sealToServer, sealValue, sign } from "./crypto";
import { CLOCK_AHEAD_MS_MAX, fromMs, make as makeHlc, toMs } from "./hlc";
import * as hlc from "./hlc";
import { type Author, BUNDLE_BYTES_MAX, decode, encodeBundle, Malformed, make, type Op, OPS_IN_BUNDLE_MAX, type Values } from "./op";

/** A clock that steps back less than this only stutters. */
export const CLOCK_BACK_MS_MAX = 1_000;
export const BUNDLES_KEPT_MS = 14 * 86_400_000;
const UNKNOWN_OP = "0".repeat(64);

/** What a person says; place, clocks and author are added here. `seal` names the personal fields. */
export type Saying = { doc: string; seal?: readonly string[]; anonymous?: boolean } & (
  | { verb: "new"; version: number; fields: Values }
  | { verb: "set"; fields: Values }
  | { verb: "add"; set: string; itemId: string; item: Values }
  | { verb: "act"; transition: string; input: Values; base: number }
);

/**
 * Put into the queue, in order, all or none; resolves when it is on disk. Throws AppError `auth.no_device`, `op.too_large`, `storage.full`.
 * `wall` is the phone's own clock, Unix ms.
 */
export async function say(db: DeviceDb, author: string, sayings: readonly Saying[], wall: () => number): Promise<OpRow[]> {
  const ready = await Promise.all(sayings.map((saying) => seal(saying, author)));
  // Hashing cannot wait inside a transaction, so the ops are made for the place that is next now, and made again if another tab took it meanwhile.
  for (;;) {
    const device = await db.device();
    if (!device) throw new AppError("auth.no_device");
    let clock = (await db.read("clock")) ?? FRESH_CLOCK;
    const rows: OpRow[] = [];
    for (const { saying, values, by, sealed } of ready) {
      const ticked = tick(clock, wall());
      clock = ticked.clock;
      rows.push(await row(saying, values, by, sealed, author, device, device.n + rows.length + 1, ticked));
    }
    try {
      const taken = await db.transaction("rw", db.devices, db.ops, db.meta, async () => {
        const now = await db.device();
        if (now?.number !== device.number || now.n !== device.n) return false;
        await db.ops.bulkAdd(rows);
        await db.devices.update(device.number, { n: device.n + rows.length });
        const latest = (await db.read("clock")) ?? FRESH_CLOCK;
        await db.write("clock", {
          ...latest,
          last: Math.max(latest.last, clock.last),
          at: Math.max(latest.at, clock.at),
          wall: clock.wall,
          unsure: clock.unsure,
        });
        return true;
      });
      if (taken) return rows;
    } catch (error) {
      if (isFull(error)) throw new AppError("storage.full");
      throw error;
    }
  }
}

/**
 * The time by the server as far as the phone knows it, Unix ms. A phone that stands before this product began, or beyond what an op can name, is not
 * believed: then it is the latest moment that the phone has heard of, and `wrong`.
 */
export function believed(clock: Clock, wall: number): { now: number; wrong: boolean } {
  const now = Math.round(wall + clock.offset);
  const wrong = !(now >= hlc.EPOCH_MS && now <= hlc.AT_MAX);
  return { now: wrong ? Math.max(clock.at, toMs(clock.last)) : now, wrong };
}

/** The clock after one more op: its hlc, and when it happened by the server's time as far as the phone knows it. */
export function tick(clock: Clock, wall: number): { clock: Clock; hlc: number; at: number } {
  const { now, wrong } = believed(clock, wall);
  const unsure = clock.unsure || wrong || wall < clock.wall - CLOCK_BACK_MS_MAX;
  const made = makeHlc(clock.last, now);
  const at = Math.max(now, clock.at, hlc.EPOCH_MS);
  return { clock: { ...clock, last: made, at, wall: wrong ? clock.wall : Math.max(wall, clock.wall), unsure }, hlc: made, at };
}

/** The clock after the server said its time, between `sent` and `came` by the phone's wall clock. */
export function contact(clock: Clock, server: number, sent: number, came: number): Clock {
  const middle = toMs(server) - (sent + came) / 2;
  const doubt = Math.max(0, came - sent) / 2;
  const offset = Math.abs(middle - clock.offset) <= doubt && !clock.unsure ? clock.offset : Math.round(middle);
  const ahead = server + CLOCK_AHEAD_MS_MAX * hlc.TICKS_PER_MS;
  // A clock that ran far ahead would go on dating everything into the future: the server does not believe it, and neither does the phone from now on.
  const last = clock.last > ahead ? server : hlc.see(clock.last, server);
  const at = clock.at > toMs(ahead) ? toMs(server) : clock.at;
  return { last, at, offset, wall: came, unsure: false };
}

/** An hlc that came with a document. */
export async function seen(db: DeviceDb, latest: number, wall: number): Promise<void> {
  await db.transaction("rw", db.meta, async () => {
    const clock = (await db.read("clock")) ?? FRESH_CLOCK;
    // Nobody's clock may drag this phone's further ahead than the server believes.
    const most = fromMs(wall + clock.offset) + CLOCK_AHEAD_MS_MAX * hlc.TICKS_PER_MS;
    const last = hlc.see(clock.last, Math.min(latest, most));
    if (last !== clock.last) await db.write("clock", { ...clock, last });
  });
}

async function seal(saying: Saying, author: string) {
  const sealed: OpRow["sealed"] = {};
  const hide = async (value: unknown) => {
    const { hash, salt, text } = await sealValue(value);
    sealed[hash] = [salt, text];
    return { sealed: hash };
  };
  const said = saying.verb === "add" ? saying.item : saying.verb === "act" ? saying.input : saying.fields;
  const values: Values = { ...said };
  for (const name of saying.seal ?? []) if (values[name] !== undefined && values[name] !== null) values[name] = await hide(values[name]);
  const by: Author = saying.anonymous ? await hide(author) : author;
  return { saying, values, by, sealed };
}

async function row(
  saying: Saying,
  values: Values,
  author: Author,
  sealed: OpRow["sealed"],
  person: string,
  device: DeviceRow,
  n: number,
  { hlc, at }: { hlc: number; at: number },
): Promise<OpRow> {
  const { doc, verb } = saying;
  const head = { device: device.number, hlc, at, author, doc };
  const op: Op =
    verb === "new"
      ? { verb, ...head, version: saying.version, fields: values }
      : verb === "set"
        ? { verb, ...head, fields: values }
        : verb === "add"
          ? { verb, ...head, set: saying.set, itemId: saying.itemId, item: values }
          : { verb, ...head, transition: saying.transition, input: values, base: saying.base };
  const what = verb === "act" ? saying.transition : verb === "add" ? saying.set : (Object.keys(values)[0] ?? "");
  try {
    const { bytes, id } = await make(op);
    const state = { state: "queued", seq: null, dismissed: 0, settled: 0 } as const;
    return {
      op: id,
      device: device.number,
      maker: device.number,
      n,
      bytes,
      author: person,
      anonymous: typeof author !== "string",
      doc,
      verb,
      what,
      at,
      hlc,
      sealed,
      media: mediaIn(values),
      ...state,
    };
  } catch (error) {
    if (error instanceof Malformed)
      throw new AppError(["bytes", "value_bytes", "fields"].includes(error.reason) ? "op.too_large" : error.code, { reason: error.reason });
    throw error;
  }
}

/** The op as it was said, with its own sealed values opened: for replaying and for showing. Null once its bytes are gone. */
export function opened(row: OpRow): Op | null {
  if (!row.bytes) return null;
  const op = decode(row.bytes);
  const show = (values: Values): Values =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => {
        const hash = (value as { sealed?: unknown } | null)?.sealed;
        const kept = typeof hash === "string" ? row.sealed[hash] : undefined;
        return [name, kept ? JSON.parse(kept[1]) : value];
      }),
    );
  if (op.verb === "add") return { ...op, item: show(op.item) };
  if (op.verb === "act") return { ...op, input: show(op.input) };
  return { ...op, fields: show(op.fields) };
}

// ---- what goes to the server ----

export interface Limits {
  ops: number;
  bytes: number;
}

export const FULL: Limits = { ops: OPS_IN_BUNDLE_MAX, bytes: BUNDLE_BYTES_MAX };

/** Something to send above `have`: ops still at hand, a kept bundle nobody here can open, or word that the numbers up to `last` are lost. */
export type Part = { first: number; last: number } & (
  | { what: "ops" | "lost"; bundle: Uint8Array; signature: string; rows: OpRow[] }
  | { what: "kept"; jwe: string }
);

/** The next part of a device's queue above `have`; null if there is none. */
export async function part(db: DeviceDb, device: DeviceRow, have: number, limits: Limits = FULL): Promise<Part | null> {
  const { number } = device;
  if (have >= device.n) return null;
  const above = (n: number) => db.ops.where("[device+n]").between([number, n], [number, Number.MAX_SAFE_INTEGER], true, true);
  const rows = (
    await above(have + 1)
      .limit(limits.ops)
      .toArray()
  ).filter((row, i) => row.n === have + 1 + i);
  const usable = rows.findIndex((row) => !row.bytes);
  const run = usable < 0 ? rows : rows.slice(0, usable);
  if (run.length) return bundle(db, device, run, limits);

  const kept = (
    await db.bundles
      .where("[device+first]")
      .between([number, 0], [number, have + 1], true, true)
      .toArray()
  ).filter((b) => b.last > have);
  const whole = kept[kept.length - 1];
  if (whole?.sealed) return { what: "kept", first: whole.first, last: whole.last, jwe: whole.sealed };

  // A hole: neither bytes nor a kept bundle. Say so, and go on with what comes after it.
  const nextRow = await above(have + 2)
    .filter((row) => row.bytes !== null)
    .first();
  const nextKept = await db.bundles
    .where("[device+first]")
    .between([number, have + 2], [number, Number.MAX_SAFE_INTEGER])
    .first();
  const first = Math.min(nextRow?.n ?? device.n + 1, nextKept?.first ?? device.n + 1);
  const lost = encodeBundle(
    { device: number, certificate: device.certificate, first, prev: await before(db, number, first), lost: true },
    [],
  );
  return { what: "lost", first, last: first - 1, rows: [], bundle: lost, signature: await sign(device.privateKey, lost) };
}

/** A bundle with nothing in it asks what the server has of this device. */
export async function question(db: DeviceDb, device: DeviceRow): Promise<{ bundle: Uint8Array; signature: string }> {
  const first = device.n + 1;
  const prev = await before(db, device.number, first);
  const bundle = encodeBundle({ device: device.number, certificate: device.certificate, first, prev }, []);
  return { bundle, signature: await sign(device.privateKey, bundle) };
}

async function bundle(db: DeviceDb, device: DeviceRow, run: OpRow[], limits: Limits): Promise<Part> {
  const first = (run[0] as OpRow).n;
  const prev = await before(db, device.number, first);
  const tokens = await db.tokens.toArray();
  for (let count = run.length; ; count = Math.ceil(count / 2)) {
    const rows = run.slice(0, count);
    const authors: Record<string, string[]> = {};
    for (const row of rows) {
      const token = tokenFor(row, tokens);
      if (!token) continue;
      const held = authors[row.author] ?? [];
      if (!held.includes(token.token)) authors[row.author] = [...held, token.token];
    }
    const sealed = Object.assign({}, ...rows.map((row) => row.sealed)) as OpRow["sealed"];
    const head = { device: device.number, certificate: device.certificate, first, prev, sealed, authors };
    const bytes = encodeBundle(
      head,
      rows.map((row) => row.bytes as Uint8Array),
    );
    if (bytes.length <= limits.bytes || count === 1) {
      return { what: "ops", first, last: first + rows.length - 1, rows, bundle: bytes, signature: await sign(device.privateKey, bytes) };
    }
  }
}

/** The token that was good on the op's own device when it was said; failing that, the newest there. */
function tokenFor(row: Pick<OpRow, "author" | "maker" | "at">, tokens: readonly TokenRow[]): TokenRow | undefined {
  const own = tokens.filter((token) => token.person === row.author && token.device === row.maker).sort((a, b) => b.from - a.from);
  return own.find((token) => token.from <= row.at && row.at < token.until) ?? own[0];
}

async function before(db: DeviceDb, device: number, first: number): Promise<string | null> {
  if (first === 1) return null;
  return (
    (
      await db.ops
        .where("[device+n]")
        .equals([device, first - 1])
        .first()
    )?.op ?? UNKNOWN_OP
  );
}

// ---- what comes back ----

export interface Verdict {
  op: string;
  n: number;
  seq: number;
  state: "ok" | "refused" | "parked";
  code?: string;
  params?: Record<string, unknown>;
}

/** Store verdicts; older ones than what is known change nothing. Call inside a transaction on `ops` or on its own. */
export async function judge(db: DeviceDb, verdicts: readonly Verdict[]): Promise<void> {
  for (const verdict of verdicts) {
    const row = await db.ops.get(verdict.op);
    if (!row || (row.seq !== null && row.seq > verdict.seq)) continue;
    const state = verdict.state === "ok" ? "accepted" : verdict.state;
    // Something that was put aside and is now decided is news, even to a worker who had read the old word; so is what a restored server takes back.
    const { dismissed, settled } = row.state === state ? row : ({ dismissed: 0, settled: 0 } as const);
    await db.ops.update(verdict.op, { state, seq: verdict.seq, code: verdict.code, params: verdict.params, dismissed, settled });
  }
}

/**
 * Let go of what is no longer needed: bytes of accepted ops that the held documents contain, tokens of acknowledged ops, bundles older than 14 days.
 * `settled` are op ids that need not be replayed any more.
 */
export async function tidy(db: DeviceDb, settled: readonly string[], now: number): Promise<void> {
  await db.transaction("rw", [db.ops, db.tokens, db.bundles, db.devices], async () => {
    for (const op of settled) await db.ops.update(op, { settled: 1, bytes: null, sealed: {} });
    await db.bundles.filter((bundle) => bundle.at < now - BUNDLES_KEPT_MS).delete();
    const acked = new Map((await db.devices.toArray()).map((device) => [device.number, device.acked]));
    // The last acknowledged op stays: the next bundle names it as the one before.
    await db.ops.filter((row) => row.settled === 1 && row.at < now - BUNDLES_KEPT_MS && row.n < (acked.get(row.device) ?? 0)).delete();
    const tokens = await db.tokens.toArray();
    const queued = await db.ops.where("state").equals("queued").toArray();
    const needed = new Set(queued.map((row) => tokenFor(row, tokens)?.id));
    for (const person of new Set(tokens.map((token) => token.person))) {
      const [newest, ...older] = tokens.filter((token) => token.person === person).sort((a, b) => b.from - a.from);
      needed.add(newest?.id);
      for (const token of older) if (token.id !== undefined && !needed.has(token.id)) await db.tokens.delete(token.id);
    }
  });
}

/** The worker has read it and is done with it. */
export async function dismiss(db: DeviceDb, op: string): Promise<void> {
  const row = await db.ops.get(op);
  if (row?.state === "refused") await db.ops.update(op, { dismissed: 1, settled: 1, bytes: null, sealed: {} });
  else if (row?.state === "accepted") await db.ops.update(op, { dismissed: 1 });
}

/**
 * Everything unsent as a file that another phone takes in (carry.ts): signed bundles and photos, readable by the server alone where its key is known.
 */
export async function exported(db: DeviceDb, now: number): Promise<Blob> {
  const keys = (await db.read("keys")) ?? [];
  const bundles: unknown[] = [];
  for (const device of await db.devices.toArray()) {
    for (let have = device.acked; ; ) {
      const next = await part(db, device, have);
      if (!next) break;
      if (next.what === "ops") bundles.push({ first: next.first, last: next.last, ...(await carried(next, keys)) });
      have = next.last;
    }
  }
  const photos: unknown[] = [];
  for (const { sha256, type, bytes, state } of await db.media.toArray()) {
    if (bytes && (state === "queued" || state === "sending")) photos.push({ sha256, type, ...(await sealed(new Uint8Array(bytes), keys)) });
  }
  const file = { anlu: "queue", v: 1, made: new Date(now).toISOString(), device: (await db.read("current")) ?? null, bundles, photos };
  return new Blob([JSON.stringify(file)], { type: "application/json" });
}

/** A photo's bytes for the server alone; in clear where its key is not known, since a dying phone has no other way. */
async function sealed(bytes: Uint8Array, keys: readonly JsonWebKey[]): Promise<{ jwe: string } | { data: string }> {
  try {
    return { jwe: await sealToServer(bytes, keys) };
  } catch {
    return { data: base64(bytes) };
  }
}

async function carried(next: { bundle: Uint8Array; signature: string }, keys: readonly JsonWebKey[]): Promise<object> {
  try {
    return { jwe: await sealToServer(envelope(next.bundle, next.signature, ""), keys) };
  } catch {
    return { bundle: new TextDecoder().decode(next.bundle), signature: next.signature };
  }
}

/** What a JWE of a bundle holds: signature, receipt (empty before there is one), and the very bytes. */
export function envelope(bundle: Uint8Array, signature: string, receipt: string): Uint8Array {
  const head = new TextEncoder().encode(`${signature}\n${receipt}\n`);
  const whole = new Uint8Array(head.length + bundle.length);
  whole.set(head);
  whole.set(bundle, head.length);
  return whole;
}

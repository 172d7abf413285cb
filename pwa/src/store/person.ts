// One person's database: what the server lets them hold. Keys and seqs lie in clear, every content is AES-GCM under the person's key, bound to its key.
import Dexie, { type DexieOptions, type EntityTable, type Table } from "dexie";
import type { Body } from "../sync/merge";
import type { Surroundings } from "./device";

export interface DocRow {
  key: string;
  kind: string;
  seq: number;
  /** the round of pulling it came in: after a reset, what the new round did not bring goes */
  round: number;
  iv: Uint8Array;
  data: ArrayBuffer;
}

/** A photo that was seen, so that it can be seen again without a network. */
export interface PictureRow {
  /** sha256/size; `own` for what this phone took itself */
  name: string;
  at: number;
  iv: Uint8Array;
  data: ArrayBuffer;
}

export interface Held {
  key: string;
  seq: number;
  round: number;
  body: Body;
}

export interface Place {
  cursor: string | null;
  /** everything up to this seq is held, 0 until a first pull is complete */
  through: number;
  round: number;
  /** a reset is being filled: documents of older rounds go when it is complete */
  sweeping: boolean;
  /** lines taken in the pull that is under way, for the progress bar */
  done: number;
  total: number;
  /** patches came for documents that are not held */
  want: string[];
  /** Unix ms of the last pull that came to its end */
  last: number | null;
}

export const NOWHERE: Place = { cursor: null, through: 0, round: 0, sweeping: false, done: 0, total: 0, want: [], last: null };

export class PersonDb extends Dexie {
  docs!: EntityTable<DocRow, "key">;
  meta!: Table<{ id: string; value: unknown }, string>;
  pictures!: EntityTable<PictureRow, "name">;

  constructor(
    readonly person: string,
    surroundings: Surroundings = {},
  ) {
    super(`anlu-${person}`, surroundings as DexieOptions);
    this.version(1).stores({ docs: "key, kind, round", meta: "id", pictures: "name, at" });
  }

  async place(): Promise<Place> {
    return { ...NOWHERE, ...((await this.meta.get("place"))?.value as Place | undefined) };
  }

  async clear(): Promise<void> {
    await this.transaction("rw", this.docs, this.meta, this.pictures, async () => {
      await this.pictures.clear();
      await this.docs.clear();
      await this.meta.clear();
    });
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export async function seal(key: CryptoKey, held: Held): Promise<DocRow> {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const how = { name: "AES-GCM", iv, additionalData: encoder.encode(held.key) };
  const data = await crypto.subtle.encrypt(how, key, encoder.encode(JSON.stringify(held.body)));
  return { key: held.key, kind: held.key.slice(0, held.key.indexOf("/")), seq: held.seq, round: held.round, iv, data };
}

export async function open(key: CryptoKey, row: DocRow): Promise<Held> {
  const how = { name: "AES-GCM", iv: row.iv as BufferSource, additionalData: encoder.encode(row.key) };
  const text = decoder.decode(await crypto.subtle.decrypt(how, key, row.data));
  return { key: row.key, seq: row.seq, round: row.round, body: JSON.parse(text) as Body };
}

/** Kinds that other documents are read by come first, then the rest, so that a screen has something to show early. */
const FIRST = ["plant", "kind", "person", "area"];
const BATCH_ROWS = 50;

/** Everything held, in batches. A record that cannot be read any more is let go and asked for anew at the next pull. */
export async function* everything(db: PersonDb, key: CryptoKey): AsyncGenerator<{ held: Held[]; done: number; total: number }> {
  const total = await db.docs.count();
  let done = 0;
  const kinds = (await db.docs.orderBy("kind").uniqueKeys()) as string[];
  const ordered = [...FIRST.filter((kind) => kinds.includes(kind)), ...kinds.filter((kind) => !FIRST.includes(kind))];
  for (const kind of ordered) {
    // Keys begin with their kind: each batch is one request that goes on behind the last.
    for (let after = `${kind}/`; ; ) {
      const rows = await db.docs.where("key").between(after, `${kind}0`, false, false).limit(BATCH_ROWS).toArray();
      const last = rows.at(-1);
      if (!last) break;
      const read = await Promise.all(rows.map((row) => open(key, row).catch(() => row.key)));
      const held = read.filter((now) => typeof now !== "string");
      const broken = read.filter((now) => typeof now === "string");
      if (broken.length === rows.length) throw new Error("nothing opens under this key");
      if (broken.length) await askAgain(db, broken);
      done += rows.length;
      yield { held, done, total };
      if (rows.length < BATCH_ROWS) break;
      after = last.key;
    }
  }
}

async function askAgain(db: PersonDb, keys: readonly string[]): Promise<void> {
  await db.transaction("rw", db.docs, db.meta, async () => {
    await db.docs.bulkDelete([...keys]);
    const place = await db.place();
    await db.meta.put({ id: "place", value: { ...place, want: [...new Set([...place.want, ...keys])] } });
  });
}

export const PICTURES_KEPT_MAX = 400;

export async function keepPicture(db: PersonDb, key: CryptoKey, name: string, bytes: ArrayBuffer, at: number): Promise<void> {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const data = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: encoder.encode(name) }, key, bytes);
  await db.pictures.put({ name, at, iv, data });
  const over = (await db.pictures.count()) - PICTURES_KEPT_MAX;
  if (over > 0) await db.pictures.bulkDelete(await db.pictures.orderBy("at").limit(over).primaryKeys());
}

export async function picture(db: PersonDb, key: CryptoKey, name: string): Promise<ArrayBuffer | null> {
  const row = await db.pictures.get(name);
  if (!row) return null;
  const how = { name: "AES-GCM", iv: row.iv as BufferSource, additionalData: encoder.encode(name) };
  return crypto.subtle.decrypt(how, key, row.data);
}

// The phone's own database, shared by everybody who works with it and not under anybody's PIN: the device's key and number, the queue of ops, what
// proves their authors, the photos that wait, and what the server has acknowledged. Every write is durable before its promise resolves.
import Dexie, { type DexieOptions, type EntityTable, type Table } from "dexie";

/** A number the server gave and the key that speaks for it. After a fork the phone has several; one is current. */
export interface DeviceRow {
  number: number;
  privateKey: CryptoKey;
  publicKey: CryptoKey;
  certificate: string;
  /** the last place given in this device's queue */
  n: number;
  /** the last place the server has acknowledged */
  acked: number;
}

export type OpState = "queued" | "accepted" | "refused" | "parked";

export interface OpRow {
  /** op id: SHA-256 of `bytes`, hex */
  op: string;
  /** whose queue it stands in */
  device: number;
  /** the number inside `bytes`: whose it was when it was said; stays through a fork */
  maker: number;
  n: number;
  /** what is stored, hashed, signed and sent; null once nobody needs it any more */
  bytes: Uint8Array | null;
  /** the person, also where the op itself seals the author */
  author: string;
  /** the op itself names nobody */
  anonymous: boolean;
  doc: string;
  verb: "new" | "set" | "add" | "act";
  what: string;
  at: number;
  hlc: number;
  /** hash → [salt, value text] of what the op seals */
  sealed: Record<string, [string, string]>;
  /** sha256 of the photos it names */
  media: string[];
  state: OpState;
  /** the ledger's place of its latest verdict */
  seq: number | null;
  code?: string;
  params?: Record<string, unknown>;
  /** 1: the worker has read it and is done with it */
  dismissed: 0 | 1;
  /** 1: what the person holds from the server already contains it */
  settled: 0 | 1;
}

export interface TokenRow {
  id?: number;
  person: string;
  device: number;
  token: string;
  /** Unix ms */
  from: number;
  until: number;
}

/** An acknowledged bundle, kept 14 days in case the server is restored from an older backup. */
export interface BundleRow {
  id?: number;
  device: number;
  first: number;
  last: number;
  /** Unix ms of its acknowledgement, by the server */
  at: number;
  /** a JWE only the server opens; null for the moment between acknowledgement and sealing */
  sealed: string | null;
  plain?: { bundle: string; signature: string; receipt: string };
}

export interface MediaRow {
  sha256: string;
  type: string;
  size: number;
  w: number;
  h: number;
  /** an ArrayBuffer, since Blobs in IndexedDB have failed on iPhones; null once the server has stored it */
  bytes: ArrayBuffer | null;
  author: string;
  at: number;
  sent: number;
  /** failed: the server will never take these bytes; aside: and the worker has seen it */
  state: "queued" | "sending" | "sent" | "failed" | "aside";
  /** the upload's address on the server, to go on from */
  url: string | null;
  code?: string;
}

export interface PersonRow {
  id: string;
  names: { zh: string; en: string };
  /** what the server said at sign-in; the documents say it anew once they are here */
  caps?: Record<string, string[]>;
  /** Wrapped person key; absent before the first PIN and after five wrong ones. */
  wrap?: PinWrap;
  /** wrong PINs since the last right one, counted before each try */
  wrong: number;
  /** Unix ms of the last time the server said who this is */
  seen: number;
}

export interface PinWrap {
  salt: Uint8Array;
  iterations: number;
  iv: Uint8Array;
  key: ArrayBuffer;
}

export interface DraftRow {
  id: string;
  person: string;
  value: unknown;
  at: number;
}

/** The one open space, so that a reload goes on; its key cannot be read out. */
export interface OpenSpace {
  person: string;
  key: CryptoKey | null;
  since: number;
  until: number;
}

export interface Clock {
  /** the latest hlc made or seen */
  last: number;
  /** the latest `at` given */
  at: number;
  /** server minus phone, ms */
  offset: number;
  /** the highest wall clock seen, Unix ms by the phone */
  wall: number;
  /** the clock ran backwards since the last contact */
  unsure: boolean;
}

export interface Meta {
  current: number;
  clock: Clock;
  epoch: string;
  keys: JsonWebKey[];
  open: OpenSpace;
  /** the key for the next registration, made once */
  nextKey: CryptoKeyPair;
  /** the server was restored: acknowledged bundles go again before anything is pulled */
  resend: boolean;
  /** the queue of this number has forked: register anew before anything is sent */
  forked: number;
  /** somebody signed out without a network: the server is told at the next contact */
  signOutDue: string;
}

export interface Surroundings {
  indexedDB?: IDBFactory;
  IDBKeyRange?: typeof IDBKeyRange;
}

export class DeviceDb extends Dexie {
  devices!: EntityTable<DeviceRow, "number">;
  ops!: EntityTable<OpRow, "op">;
  tokens!: EntityTable<TokenRow, "id">;
  bundles!: EntityTable<BundleRow, "id">;
  media!: EntityTable<MediaRow, "sha256">;
  people!: EntityTable<PersonRow, "id">;
  drafts!: Table<DraftRow, [string, string]>;
  meta!: Table<{ id: keyof Meta; value: unknown }, keyof Meta>;

  constructor(surroundings: Surroundings = {}) {
    super("anlu-device", { ...surroundings, chromeTransactionDurability: "strict" } as DexieOptions);
    this.version(1).stores({
      devices: "number",
      ops: "op, &[device+n], [author+settled+at], state, doc",
      tokens: "++id, person",
      bundles: "++id, [device+first]",
      media: "sha256, state",
      people: "id",
      drafts: "[person+id]",
      meta: "id",
    });
  }

  async read<K extends keyof Meta>(id: K): Promise<Meta[K] | undefined> {
    return (await this.meta.get(id))?.value as Meta[K] | undefined;
  }

  async write<K extends keyof Meta>(id: K, value: Meta[K]): Promise<void> {
    await this.meta.put({ id, value });
  }

  async drop(id: keyof Meta): Promise<void> {
    await this.meta.delete(id);
  }

  async device(): Promise<DeviceRow | undefined> {
    const number = await this.read("current");
    return number === undefined ? undefined : this.devices.get(number);
  }
}

export const FRESH_CLOCK: Clock = { last: 0, at: 0, offset: 0, wall: 0, unsure: false };

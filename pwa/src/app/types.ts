// The door between the phone's data (core.ts) and its screens. Screens know nothing of ops, clocks or IndexedDB.
import type { ComputedRef, Ref, ShallowRef } from "vue";
import type { PhotoOf } from "../media/named";
import type { Cargo, Carried } from "../sync/carry";

export type Lang = "zh" | "en";
export type Label = { zh: string; en: string };

/** A refusal as the catalogue has it; `params` fill its sentences. */
export class AppError extends Error {
  constructor(
    readonly code: string,
    readonly params: Record<string, unknown> = {},
  ) {
    super(code);
  }
}

/** A document as screens and CEL see it: plain values, absent fields null, sets as lists ordered by clock. */
export interface View {
  id: string;
  kind: string;
  version: number;
  status: string;
  [field: string]: unknown;
}

export interface Doc {
  key: string;
  seq: number;
  /** The server's document with this phone's unsent and unanswered ops replayed on top. */
  view: View;
  /** Something in it is this phone's claim: the server has not agreed yet. */
  pending: boolean;
  /** An op of mine on it was refused or is parked. */
  troubled: boolean;
}

export interface LocalPerson {
  id: string;
  names: Label;
  hasPin: boolean;
}

export interface Me {
  id: string;
  names: Label;
  device: number;
  caps: Record<string, string[]>;
  has(cap: string, area?: string | null): boolean;
}

export type OutboxState = "queued" | "sending" | "accepted" | "refused" | "parked";

/** One thing the worker said, as the outbox shows it: ops of one doing are grouped. */
export interface OutboxItem {
  op: string;
  n: number;
  at: number;
  author: string;
  doc: string;
  verb: "new" | "set" | "add" | "act";
  /** transition, set or first field name */
  what: string;
  state: OutboxState;
  /** what was said, so that a refusal can be mended; null once it is accepted */
  said: Record<string, unknown> | null;
  code?: string;
  params?: Record<string, unknown>;
}

export interface MediaItem {
  sha256: string;
  type: string;
  size: number;
  sent: number;
  at: number;
  /** failed: the server will never take it */
  state: "queued" | "sending" | "sent" | "failed" | "aside";
  author: string;
  /** what it waits for */
  of: PhotoOf;
  /** the document that names it; empty while it stands in a form */
  doc: string;
  code?: string;
}

export interface MediaValue {
  sha256: string;
  type: string;
  size: number;
  w: number;
  h: number;
}

export interface Place {
  lat: number;
  lon: number;
  accuracy_m: number;
  source: "gps" | "tag";
  tag?: string;
  phone_at: number;
  at: number;
  /** only roughly so, since its exact value was kept long enough */
  rounded?: boolean;
}

export interface SyncState {
  online: boolean;
  /** Unix ms of the last finished pull, null before the first */
  last: number | null;
  running: boolean;
  /** while a first pull runs */
  first: { done: number; total: number } | null;
  /** while a space that was just opened is read from the phone */
  loading: { done: number; total: number } | null;
  /** why sync waits: `auth.expired` asks for sign-in, `device.forked` … */
  trouble: { code: string; params: Record<string, unknown> } | null;
  /** unsure: it ran backwards; wrong: it stands in a year that cannot be */
  clock: "good" | "unsure" | "wrong";
}

export interface StorageState {
  persistent: boolean;
  used: number;
  quota: number;
  nearlyFull: boolean;
}

export interface Answer {
  ok: boolean;
  code?: string;
  params?: Record<string, unknown>;
}

export interface Core {
  boot(): Promise<void>;
  people: ShallowRef<LocalPerson[]>;
  me: ShallowRef<Me | null>;
  /** none: nobody has signed in · locked: a PIN opens it · open · setPin: signed in, no PIN yet */
  lock: Ref<"none" | "locked" | "open" | "setPin">;
  signIn(username: string, password: string): Promise<void>;
  setUp(code: string, names: Label, username: string, password: string): Promise<void>;
  /** throws AppError auth.pin_form */
  setPin(pin: string): Promise<void>;
  /** locked, right after a sign-in: gives up what was kept under a forgotten PIN and asks for a new one; throws auth.expired if nobody just signed in */
  newPin(): Promise<void>;
  /** throws AppError auth.pin_wrong {left}, auth.pin_cleared */
  unlock(person: string, pin: string): Promise<void>;
  lockNow(): void;
  signOut(): Promise<void>;
  /** a supervisor, in person: opens `person`'s space on this phone with a new PIN to be set */
  resetPin(person: string, username: string, password: string): Promise<void>;

  doc(key: string | (() => string | null)): ComputedRef<Doc | undefined>;
  list(kind: string, where?: (d: Doc) => boolean): ComputedRef<Doc[]>;
  get(key: string): Doc | undefined;
  /** compiled kind; undefined while it has not been pulled */
  kind(name: string, version?: number): KindFile | undefined;
  kinds(): KindFile[];

  /** `id`: where it follows from something else; otherwise a new one is made */
  create(kind: string, fields: Record<string, unknown>, opts?: { anonymous?: boolean; id?: string }): Promise<string>;
  set(key: string, fields: Record<string, unknown>): Promise<void>;
  /** what is added to a report that was made without a name is said without a name too */
  add(key: string, set: string, item: Record<string, unknown>): Promise<string>;
  act(key: string, transition: string, input?: Record<string, unknown>): Promise<void>;
  /** what the phone's own machine says now, before anything is written */
  may(key: string, transition: string, input?: Record<string, unknown>): Answer;
  mayCreate(kind: string, fields?: Record<string, unknown>): Answer;

  outbox: ShallowRef<OutboxItem[]>;
  uploads: ShallowRef<MediaItem[]>;
  /** `count`: what `outbox` has as queued; `photos`: named by what was said here, and not on the server yet */
  unsent: ComputedRef<{ count: number; photos: number; oldestAt: number | null }>;
  /** photos of this person that the server will never take */
  failed: ComputedRef<MediaItem[]>;
  /** the worker has seen that a photo will never be taken, and is done with it */
  setPhotoAside(sha256: string): Promise<void>;
  /**
   * A refused beginning is said once more, as it was said and for the same document: what was said about the document meanwhile waits for just that one.
   * Throws like `create`.
   */
  sayAgain(op: string): Promise<void>;
  /** the worker has read a refusal and is done with it */
  dismiss(op: string): Promise<void>;
  exportQueue(): Promise<Blob>;
  /**
   * Brings another phone's outbox file to the server; `heard` is called first with nothing, then with each result. Throws AppError `file.not_ours`,
   * `file.damaged`, `file.newer`, `net.offline`: whatever came before it stands, and the file may be taken in again.
   */
  takeIn(file: Blob, heard: (from: Cargo, results: Carried[]) => void): Promise<void>;
  syncNow(): Promise<void>;
  sync: Ref<SyncState>;
  storage: Ref<StorageState>;
  /** this phone's data was cleared under the open app: how much had not been sent; null once somebody signs in again */
  lost: ShallowRef<{ count: number; photos: number } | null>;
  askPersistent(): Promise<boolean>;

  /** downsizes, hashes, keeps, queues; resolves when it is safely on this phone */
  keepPhoto(file: Blob): Promise<MediaValue>;
  /** object URL of a photo here or on the server; null while it is on its way */
  photo(sha256: string, size: "thumb" | "screen" | "original"): Promise<string | null>;
  /** server-corrected now, Unix ms */
  now(): number;
  /** authenticated request to our own server; throws AppError */
  request<T>(path: string, init?: RequestInit): Promise<T>;
  /** drafts: what a form holds before it is said; survives everything, per person */
  draft<T>(id: string): Promise<T | undefined>;
  keepDraft<T>(id: string, value: T): Promise<void>;
  dropDraft(id: string): Promise<void>;
}

/** What a kind file says, after reading; see backend/flow/kind.py. FLOW's pwa/src/flow/kind.ts refines it. */
export interface KindFile {
  kind: string;
  version: number;
  title: Label;
  [part: string]: unknown;
}

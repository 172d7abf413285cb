// Ops: what a phone may say, and the bytes it says it in. Twin of backend/sync/op.py. Pure.
//
//   ["new", device, hlc, at, author, doc, version, {field: value, …}]       begins a document under a version of its kind
//   ["set", device, hlc, at, author, doc, {field: value, …}]                last writer wins, field by field
//   ["add", device, hlc, at, author, doc, set_name, item_id, item]          grow-only set
//   ["act", device, hlc, at, author, doc, transition, input, base]          a step of the kind's flow; base: the seq the phone held
//
// An op is its bytes: `make` serialises once; what it gives is stored, hashed, signed and sent, again and again. Both twins give the same verdict on
// every byte string: first the text, then the parts from left to right, then the named values; the first check that fails names the reason.
import canonicalize from "canonicalize";
import { AT_MAX, HLC_MAX } from "./hlc";

export const OPS_IN_BUNDLE_MAX = 500;
export const BUNDLE_BYTES_MAX = 1_000_000;
export const OP_BYTES_MAX = 65_536;
/** Names in one op: fields of a new or set, entries of an item, inputs of an act. */
export const FIELDS_IN_SET_MAX = 64;
/** Bytes of one value, or of a whole item, in RFC 8785 form. */
export const VALUE_BYTES_MAX = 16_384;
/** Items of one set of a document: held where an op comes in, never in merge. */
export const ITEMS_IN_SET_MAX = 2_000;
export const NAME_CHARS_MAX = 64;
/** Arrays and objects inside one another, the op itself counted. */
export const DEPTH_MAX = 32;
/** Past it JavaScript rounds (RFC 7493, 2.2). */
export const NUMBER_MAX = Number.MAX_SAFE_INTEGER;
export const DEVICE_MAX = 2 ** 48 - 1;
export const VERSION_MAX = 2 ** 31 - 1;

/** Why bytes are no op. */
export const REASONS = [
  "bytes",
  "utf8",
  "depth",
  "json",
  "duplicate_name",
  "number",
  "surrogate",
  "verb",
  "shape",
  "device",
  "hlc",
  "at",
  "author",
  "doc",
  "version",
  "name",
  "item",
  "base",
  "fields",
  "value_bytes",
  "sealed",
] as const;
export type Reason = (typeof REASONS)[number];

/** These bytes are no op. `code` is the catalogue's. */
export class Malformed extends Error {
  readonly code = "op.malformed";
  constructor(readonly reason: Reason) {
    super(`op.malformed: ${reason}`);
  }
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Values = Record<string, unknown>;
/** Stands where a personal value was: `sealedHash` of its salt and text. */
export interface Sealed {
  sealed: string;
}
export type Author = string | Sealed;

interface Said {
  device: number;
  hlc: number;
  /** Unix ms */
  at: number;
  author: Author;
  /** `kind/id` */
  doc: string;
}
export interface New extends Said {
  verb: "new";
  version: number;
  fields: Values;
}
export interface SetFields extends Said {
  verb: "set";
  fields: Values;
}
export interface Add extends Said {
  verb: "add";
  set: string;
  itemId: string;
  item: Values;
}
export interface Act extends Said {
  verb: "act";
  transition: string;
  input: Values;
  /** the seq of the document that the phone held, 0 if it held none */
  base: number;
}
export type Op = New | SetFields | Add | Act;

export interface Made {
  op: Op;
  /** the op: store these, hash these, sign these, send these */
  bytes: Uint8Array<ArrayBuffer>;
  id: string;
}

/** Serialise an op, once and for all. Half characters become U+FFFD, `undefined` goes. Throws Malformed where the server would refuse. */
export async function make(op: Op): Promise<Made> {
  const bytes = encode(op);
  return { op: decode(bytes), bytes, id: await opId(bytes) };
}

export const makeNew = (said: Omit<New, "verb">) => make({ verb: "new", ...said });
export const makeSet = (said: Omit<SetFields, "verb">) => make({ verb: "set", ...said });
export const makeAdd = (said: Omit<Add, "verb">) => make({ verb: "add", ...said });
export const makeAct = (said: Omit<Act, "verb">) => make({ verb: "act", ...said });

/** The bytes of an op that is made here. Never encode what was received or stored: its bytes are the op. */
export function encode(op: Op): Uint8Array<ArrayBuffer> {
  const said = [op.verb, op.device, op.hlc, op.at, op.author, op.doc];
  const text = JSON.stringify(
    op.verb === "new"
      ? [...said, op.version, op.fields]
      : op.verb === "set"
        ? [...said, op.fields]
        : op.verb === "add"
          ? [...said, op.set, op.itemId, op.item]
          : [...said, op.transition, op.input, op.base],
  );
  // JSON.stringify writes exactly the half characters as \ud800 … \udfff; whole ones stay as they are.
  const whole = text.replace(/\\(?:u[0-9a-f]{4}|.)/g, (mark) => (/^\\ud[89a-f]/.test(mark) ? "\ufffd" : mark));
  return new TextEncoder().encode(whole) as Uint8Array<ArrayBuffer>;
}

/** Read an op. Throws Malformed with the first reason that applies. */
export function decode(bytes: Uint8Array): Op {
  const value = readIJson(bytes);
  const verb = value[0];
  if (typeof verb !== "string" || !hasOwn(PARTS, verb)) fail("verb");
  if (value.length !== PARTS[verb]) fail("shape");
  const small = bytes.length * 4 <= VALUE_BYTES_MAX; // RFC 8785 writes no JSON longer than four times (9e15)

  const named = verb === "new" || verb === "act" ? value[7] : verb === "set" ? value[6] : value[8];
  if (!isObject(named)) fail("shape");
  const said: Said = {
    device: whole(value[1], 0, DEVICE_MAX, "device"),
    hlc: whole(value[2], 0, HLC_MAX, "hlc"),
    at: whole(value[3], 0, AT_MAX, "at"),
    author: readAuthor(value[4]),
    doc: text(value[5], DOC, "doc"),
  };
  let op: Op;
  if (verb === "new") op = { verb, ...said, version: whole(value[6], 1, VERSION_MAX, "version"), fields: named };
  else if (verb === "set") op = { verb, ...said, fields: named };
  else if (verb === "add") op = { verb, ...said, set: text(value[6], NAME, "name"), itemId: text(value[7], UUID, "item"), item: named };
  else {
    const transition = text(value[6], NAME, "name");
    op = { verb: "act", ...said, transition, input: named, base: whole(value[8], 0, NUMBER_MAX, "base") };
  }
  const names = Object.keys(named);
  if (names.length > FIELDS_IN_SET_MAX) fail("fields");
  for (const name of names) text(name, NAME, "name");
  if (!small) {
    for (const v of verb === "add" ? [named] : Object.values(named)) if (canonical(v).length > VALUE_BYTES_MAX) fail("value_bytes");
  }
  for (const v of Object.values(named)) if (isObject(v) && hasOwn(v, "sealed")) sealedOf(v);
  return op;
}

/** SHA-256 of an op's bytes, hex. */
export async function opId(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return hex(await crypto.subtle.digest("SHA-256", bytes));
}

/** The hash in `{"sealed": hex}`. Throws Malformed if it is anything else. */
export function sealedOf(value: Values): string {
  if (Object.keys(value).length !== 1) fail("sealed");
  return text(value.sealed, HASH, "sealed");
}

/** What stands in an op for a personal value: SHA-256 of the raw 16-byte salt, then of the value's JSON text, hex. */
export async function sealedHash(salt: Uint8Array, valueText: string): Promise<string> {
  return hex(await crypto.subtle.digest("SHA-256", join([salt, new TextEncoder().encode(valueText)])));
}

export interface BundleHead {
  device: number;
  certificate: string;
  first: number;
  /** the id of the op before `first`; null where `first` is 1 */
  prev: string | null;
  /** {hex: [salt base64, value's JSON text]} */
  sealed?: Record<string, [salt: string, text: string]>;
  /** {person: author tokens} */
  authors?: Record<string, string[]>;
  /** this phone no longer holds what the server asked for */
  lost?: boolean;
}

/** Join ops into a bundle without touching their bytes. */
export function encodeBundle(head: BundleHead, ops: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const { device, certificate, first, prev, sealed = {}, authors = {}, lost } = head;
  const front = JSON.stringify({ v: 1, device, certificate, first, prev, sealed, authors, ...(lost ? { lost } : {}) });
  const encoder = new TextEncoder();
  const comma = encoder.encode(",");
  const parts = ops.flatMap((op, i) => (i ? [comma, op] : [op]));
  return join([encoder.encode(`${front.slice(0, -1)},"ops":[`), ...parts, encoder.encode("]}")]);
}

/** RFC 8785 form of a JSON value, in UTF-8. For comparing and hashing. */
export function canonical(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(canonicalize(value)) as Uint8Array<ArrayBuffer>;
}

const PARTS: Record<string, number> = { new: 8, set: 7, add: 9, act: 9 };
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const HASH = /^[0-9a-f]{64}$/;
const NAME = /^[a-z][a-z0-9_]{0,63}$/;
const DOC = /^(?:[a-z][a-z0-9_.]{0,63}\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|parked\/[0-9a-f]{64})$/;

function fail(reason: Reason): never {
  throw new Malformed(reason);
}

/** The array in `bytes`, if it is I-JSON (RFC 7493): no name twice, no number past 2^53 - 1, no half character. */
function readIJson(bytes: Uint8Array): Json[] {
  if (bytes.length > OP_BYTES_MAX) fail("bytes");
  let json: string;
  try {
    json = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    fail("utf8");
  }
  if (depth(json) > DEPTH_MAX) fail("depth");
  if (!json.startsWith("[") || !json.endsWith("]")) fail("json");
  let value: Json[];
  try {
    value = JSON.parse(json);
  } catch {
    fail("json");
  }
  if (repeatsName(json)) fail("duplicate_name");
  if (some(value, (v) => typeof v === "number" && Math.abs(v) > NUMBER_MAX)) fail("number");
  if (json.includes("\\u") && some(value, (v) => typeof v === "string" && /\p{Surrogate}/u.test(v))) fail("surrogate");
  return value;
}

function depth(json: string): number {
  let deepest = 0;
  let now = 0;
  for (const mark of json.replace(/"(?:[^"\\]|\\.)*"?/gs, "")) {
    if (mark === "[" || mark === "{") deepest = Math.max(deepest, ++now);
    else if (mark === "]" || mark === "}") now--;
  }
  return deepest;
}

/** Whether valid JSON has a name twice in one object: JSON.parse keeps the last and says nothing. */
function repeatsName(json: string): boolean {
  const open: (Set<string> | null)[] = [];
  let name: string | null = null;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}:]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(null);
    else if (token === "}" || token === "]") open.pop();
    else if (token !== ":") name = token;
    else {
      const names = open[open.length - 1] as Set<string>;
      const plain = JSON.parse(name as string) as string;
      if (names.has(plain)) return true;
      names.add(plain);
    }
  }
  return false;
}

/** Whether any value or name inside is as asked. */
function some(value: Json, asked: (v: Json) => boolean): boolean {
  if (Array.isArray(value)) return value.some((v) => some(v, asked));
  if (isObject(value)) return Object.entries(value).some(([name, v]) => asked(name) || some(v as Json, asked));
  return asked(value);
}

function whole(value: unknown, least: number, most: number, reason: Reason): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) fail(reason);
  return value + 0; // -0 and 0 are one number
}

function text(value: unknown, pattern: RegExp, reason: Reason): string {
  if (typeof value !== "string" || !pattern.test(value)) fail(reason);
  return value;
}

function readAuthor(value: unknown): Author {
  if (typeof value === "string" && UUID.test(value)) return value;
  if (!isObject(value) || Object.keys(value).length !== 1) fail("author");
  return { sealed: text(value.sealed, HASH, "author") };
}

/** Whether parsed JSON has this name itself. Object.hasOwn came with Chrome 93; the plant's phones have 87. */
export function hasOwn(record: object, name: string): boolean {
  return Object.prototype.propertyIsEnumerable.call(record, name);
}

function isObject(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hex(digest: ArrayBuffer): string {
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    joined.set(part, place);
    place += part.length;
  }
  return joined;
}

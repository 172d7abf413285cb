// Merging accepted ops into a document's body. Twin of backend/sync/merge.py. Pure; a body is changed in place, its entries never are.
//
// `e` is the effective hlc (for this phone's own ops on top: the claimed one), `device` the op's own. Any order, duplication and batching of the same
// ops gives the same body:
//
// - fields: the larger (e, device) wins;
// - items: union by id; of two with one id the smaller (e, device) wins: nobody replaces what was put down first;
// - equal pairs, which only a forked phone can make, go by op id: the larger for fields, the smaller for items. Bodies do not keep op ids: where the
//   caller knows that of what stands (`ids`), it decides; otherwise what stands stays.
//
// What an act writes is in the ledger's order, not the clocks': `writeFields`.
import { type Author, canonical, hasOwn, type Values } from "./op";

export { canonical };

export type Entry = [value: unknown, e: number, device: number];
export type Entries = Record<string, Entry>;
export interface Body {
  version: number;
  status: string;
  fields: Entries;
  sets: Record<string, Entries>;
}
export interface Patch {
  set?: Entries;
  add?: Record<string, Entries>;
  status?: string;
}
/** Op ids of what stands, as far as the caller knows: `field` or `set/item id`. The merge adds what it writes. */
export type Ids = Map<string, string>;

/** An empty document. */
export function begin(version: number, status: string): Body {
  return { version, status, fields: {}, sets: {} };
}

/** Merge what a `new` or `set` says; returns the entries that won. */
export function putFields(body: Body, fields: Values, e: number, device: number, opId = "", ids?: Ids): Entries {
  const changed: Entries = {};
  for (const [name, value] of Object.entries(fields)) {
    const old = own(body.fields, name);
    const order = old ? compare(e, device, old) || byId(ids, name, opId) : 1;
    if (order <= 0) continue;
    changed[name] = body.fields[name] = [value, e, device];
    ids?.set(name, opId);
  }
  return changed;
}

/** Merge `{set: {item id: item}}`; returns the entries that are now there and were not. */
export function putItems(
  body: Body,
  items: Record<string, Record<string, Values>>,
  e: number,
  device: number,
  opId = "",
  ids?: Ids,
): Record<string, Entries> {
  const changed: Record<string, Entries> = {};
  for (const [set, put] of Object.entries(items)) {
    for (const [id, item] of Object.entries(put)) {
      const old = own(own(body.sets, set) ?? {}, id);
      const order = old ? compare(e, device, old) || byId(ids, `${set}/${id}`, opId) : -1;
      if (order >= 0) continue;
      const entry: Entry = [item, e, device];
      open(body.sets, set)[id] = entry;
      open(changed, set)[id] = entry;
      ids?.set(`${set}/${id}`, opId);
    }
  }
  return changed;
}

/** Write what an act says, whatever clocks stand there: acts go in the ledger's order. Returns the entries. */
export function writeFields(body: Body, fields: Values, e: number, device: number): Entries {
  const changed: Entries = {};
  for (const [name, value] of Object.entries(fields)) changed[name] = body.fields[name] = [value, e, device];
  return changed;
}

/** Take over a patch: the server's word stands over any clock. */
export function putPatch(body: Body, patch: Patch): void {
  Object.assign(body.fields, patch.set);
  for (const [set, put] of Object.entries(patch.add ?? {})) Object.assign(open(body.sets, set), put);
  if (patch.status !== undefined) body.status = patch.status;
}

/** An added item with who said it (`by`, sealed if anonymous) and when (`at`, Unix ms), over whatever it claims itself. */
export function stamp(item: Values, author: Author, at: number): Values {
  return { ...item, by: author, at };
}

/** A body that may be merged into without touching this one. */
export function copy(body: Body): Body {
  const sets: Body["sets"] = {};
  for (const [set, items] of Object.entries(body.sets)) sets[set] = { ...items };
  return { ...body, fields: { ...body.fields }, sets };
}

function compare(e: number, device: number, old: Entry): number {
  return e - old[1] || device - old[2];
}

/** How this op's id compares with that of what stands; 0 where either is not known. */
function byId(ids: Ids | undefined, place: string, opId: string): number {
  const standing = ids?.get(place) ?? "";
  if (!opId || !standing || opId === standing) return 0;
  return opId > standing ? 1 : -1;
}

// A field may be called `constructor`: only own names count.
function own<T>(record: Record<string, T>, name: string): T | undefined {
  return hasOwn(record, name) ? record[name] : undefined;
}

function open(sets: Record<string, Entries>, set: string): Entries {
  const items = own(sets, set) ?? {};
  sets[set] = items;
  return items;
}

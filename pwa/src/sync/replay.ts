// This phone's own word on top of the server's: ops that are not answered yet, or whose answer has not come with a document yet, replayed in the order
// they were said. What they bring about (spawned documents, steps of other documents) is foretold as a claim; the server has the last word.
import type { OpRow } from "../store/device";
import { spawned } from "./ids";
import { type Body, begin, copy, putFields, putItems, stamp, writeFields } from "./merge";
import type { Op, Values } from "./op";
import { opened } from "./outbox";

/** A document as it stands on this phone. */
export interface Standing {
  key: string;
  /** the server's seq, 0 where it has not said anything yet */
  seq: number;
  body: Body;
}

export interface Change {
  status?: string | null;
  fields: Values;
  items: Record<string, Record<string, Values>>;
  spawns: { name: string; kind: string; version: number; fields: Values }[];
  acts: { name: string; doc: string; transition: string; input: Values }[];
}

export type Outcome =
  | { ok: Change }
  | { refused: string; params: Record<string, unknown> }
  | { parked: string; params: Record<string, unknown> };

/** What the kinds say, on this phone. */
export interface Rules {
  judge(op: Op, id: string, doc: Standing | undefined, author: string, at: number): Outcome;
}

/** A document with own ops on top. */
export interface Top extends Standing {
  /** ops that have a part in it */
  ops: string[];
  /** the server holds it too */
  held: boolean;
}

const ACTS_DEPTH_MAX = 8;
const SERVER = "00000000-0000-0000-0000-000000000000";
const SERVER_DEVICE = 0;

export class Overlay {
  readonly tops = new Map<string, Top>();

  constructor(
    private readonly server: (key: string) => Standing | undefined,
    private readonly rules: () => Rules | null,
  ) {}

  /** Replay these ops from the start; returns the keys of documents that stood before or stand now. */
  rebuild(rows: readonly OpRow[], through: number): Set<string> {
    const touched = new Set(this.tops.keys());
    this.tops.clear();
    // A beginning that was said once more, after a refusal, goes before what was said about its document meanwhile.
    const first = new Map<string, number>();
    for (const row of rows) first.set(row.doc, Math.min(row.hlc, first.get(row.doc) ?? row.hlc));
    const when = (row: OpRow): number => (row.verb === "new" ? (first.get(row.doc) ?? row.hlc) : row.hlc);
    const order = (a: OpRow, b: OpRow): number =>
      when(a) - when(b) || Number(b.verb === "new") - Number(a.verb === "new") || a.hlc - b.hlc || a.n - b.n;
    for (const row of [...rows].sort(order)) this.play(row, through);
    for (const key of this.tops.keys()) touched.add(key);
    return touched;
  }

  /** Put one more op on top; returns the keys it touched. */
  play(row: OpRow, through: number): Set<string> {
    const touched = new Set<string>();
    const op = row.state === "refused" || row.settled ? null : opened(row);
    if (!op) return touched;
    const outcome = this.outcome(op, row.op, row.author, row.at);
    const change = "ok" in outcome ? outcome.ok : this.plain(op, outcome);
    if (!change) return touched;
    this.enact(op, row, change, through, touched);
    return touched;
  }

  standing(key: string): Standing | undefined {
    return this.tops.get(key) ?? this.server(key);
  }

  private outcome(op: Op, id: string, author: string, at: number): Outcome {
    const rules = this.rules();
    if (!rules) return { parked: "op.awaits_kind", params: {} };
    return rules.judge(op, id, this.standing(op.doc), author, at);
  }

  /** Facts show even where the phone cannot judge them (the kind is not here); a step that the phone would refuse shows nothing. */
  private plain(op: Op, outcome: Outcome): Change | null {
    if (op.verb === "act" || "refused" in outcome) return null;
    const items = op.verb === "add" ? { [op.set]: { [op.itemId]: op.item } } : {};
    return { fields: op.verb === "add" ? {} : op.fields, items, spawns: [], acts: [] };
  }

  private enact(op: Op, row: OpRow, change: Change, through: number, touched: Set<string>): void {
    const answered = row.seq !== null && row.state === "accepted";
    const seq = row.seq ?? 0;
    // A document that already contains this op is left alone; one that does not yet gets it on top.
    const pending = (key: string, beyond: boolean) => {
      if (!answered) return true;
      const held = this.server(key)?.seq ?? 0;
      return through < seq && (beyond ? held <= seq : held < seq);
    };
    if (pending(op.doc, false)) {
      const top = this.lift(op.doc, row.op, op.verb === "new" ? op.version : null);
      if (top) {
        touched.add(op.doc);
        if (op.verb === "act") writeFields(top.body, change.fields, op.hlc, op.device);
        else putFields(top.body, change.fields, op.hlc, op.device, row.op);
        const items = Object.fromEntries(
          Object.entries(change.items).map(([set, put]) => [
            set,
            Object.fromEntries(Object.entries(put).map(([id, item]) => [id, stamp(item, op.author, op.at)])),
          ]),
        );
        putItems(top.body, items, op.hlc, op.device, row.op);
        if (change.status) top.body.status = change.status;
      }
    }
    this.follow(row.op, change, op, row, pending, touched, 0);
  }

  private follow(
    cause: string,
    change: Change,
    op: Op,
    row: OpRow,
    pending: (key: string, beyond: boolean) => boolean,
    touched: Set<string>,
    depth: number,
  ): void {
    if (depth >= ACTS_DEPTH_MAX) return;
    for (const spawn of change.spawns) {
      const key = `${spawn.kind}/${spawned(cause, spawn.name)}`;
      if (this.server(key) || !pending(key, true)) continue;
      const { version, fields } = spawn;
      const said: Op = { verb: "new", device: SERVER_DEVICE, hlc: op.hlc, at: op.at, author: SERVER, doc: key, version, fields };
      const outcome = this.outcome(said, `${cause}:${spawn.name}`, SERVER, op.at);
      if (!("ok" in outcome)) continue;
      const body = begin(version, outcome.ok.status ?? "");
      putFields(body, outcome.ok.fields, op.hlc, SERVER_DEVICE);
      this.tops.set(key, { key, seq: 0, body, ops: [row.op], held: false });
      touched.add(key);
      // What it spawns in turn bears an id that only the server knows.
      this.follow(`${cause}:${spawn.name}`, { ...outcome.ok, spawns: [] }, op, row, pending, touched, depth + 1);
    }
    for (const act of change.acts) {
      if (!pending(act.doc, true)) continue;
      const said: Op = {
        verb: "act",
        device: SERVER_DEVICE,
        hlc: op.hlc,
        at: op.at,
        author: SERVER,
        doc: act.doc,
        transition: act.transition,
        input: act.input,
        base: this.standing(act.doc)?.seq ?? 0,
      };
      const id = `${cause}:${act.name}`;
      const outcome = this.outcome(said, id, SERVER, op.at);
      if (!("ok" in outcome)) continue;
      const top = this.lift(act.doc, row.op, null);
      if (!top) continue;
      touched.add(act.doc);
      writeFields(top.body, outcome.ok.fields, op.hlc, SERVER_DEVICE);
      putItems(top.body, outcome.ok.items, op.hlc, SERVER_DEVICE);
      if (outcome.ok.status) top.body.status = outcome.ok.status;
      this.follow(id, { ...outcome.ok, spawns: [] }, op, row, pending, touched, depth + 1);
    }
  }

  /** The document with room on top; begun if this op begins it. */
  private lift(key: string, op: string, version: number | null): Top | undefined {
    let top = this.tops.get(key);
    if (!top) {
      const held = this.server(key);
      if (held) top = { key, seq: held.seq, body: copy(held.body), ops: [], held: true };
      else if (version !== null) top = { key, seq: 0, body: begin(version, ""), ops: [], held: false };
      else return undefined;
      this.tops.set(key, top);
    }
    if (!top.ops.includes(op)) top.ops.push(op);
    return top;
  }
}

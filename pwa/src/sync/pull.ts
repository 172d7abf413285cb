// Takes over what the server lets a person hold, page by page: a page's documents and the cursor behind it are one transaction, so a cut line, a closed
// app or a dead battery costs at most one page. Works on the database alone, so that several tabs agree.
import type { DeviceDb } from "../store/device";
import { Slices } from "../app/slices";
import { type DocRow, type Held, open, type PersonDb, type Place, seal } from "../store/person";
import { type Body, copy, type Patch, putPatch } from "./merge";
import { type Fetch, lines, Offline, send } from "./net";
import { judge, seen, type Verdict } from "./outbox";

export const WANTED_MAX = 100;
/** Answers in a row that say "more": far above any real first pull. */
const ANSWERS_MAX = 100_000;
/** So many documents are read, sealed or written in one go: the page's thread is free in between. */
const STEP_DOCS = 25;

export interface Page {
  put: Held[];
  gone: string[];
  place: Place;
}

export interface PullMeans {
  device: DeviceDb;
  db: PersonDb;
  key: CryptoKey;
  fetch: Fetch;
  headers: Record<string, string>;
  wall(): number;
  /** a page is on disk */
  page(page: Page): void | Promise<void>;
}

/** Pull until there is no more. `restored`: the server has another epoch than the phone knew; push first, then pull again. Throws Offline, HttpError. */
export async function pull(means: PullMeans): Promise<"done" | "restored"> {
  for (let answers = 0; answers < ANSWERS_MAX; answers++) {
    const before = await means.db.place();
    const asked = before.want.slice(0, WANTED_MAX);
    const body = JSON.stringify({ cursor: before.cursor, want: asked });
    const headers = { ...means.headers, "Content-Type": "application/json", Accept: "application/x-ndjson" };
    const response = await send(means.fetch, "/api/sync/pull", { method: "POST", headers, body });
    const end = await take(means, response, asked);
    if (end !== "more") return end;
  }
  throw new Offline();
}

type Line =
  | { epoch: string; reset: boolean; total: number }
  | { doc: string; seq: number; body: Body }
  | ({ patch: string; seq: number } & Patch)
  | { gone: string; seq: number }
  | { verdict: Verdict }
  | { cursor: string; through: number; more: boolean };

async function take(means: PullMeans, response: Response, asked: readonly string[]): Promise<"done" | "more" | "restored"> {
  let place = await means.db.place();
  let page: Line[] = [];
  let end: "done" | "more" | undefined;
  const slices = new Slices();
  for await (const raw of lines(response)) {
    if (slices.over()) await slices.pause();
    const line = raw as unknown as Line;
    if ("epoch" in line) {
      const known = await means.device.read("epoch");
      if (known !== line.epoch) {
        await means.device.transaction("rw", means.device.meta, async () => {
          await means.device.write("epoch", line.epoch);
          if (known !== undefined) await means.device.write("resend", true);
        });
        if (known !== undefined) return "restored";
      }
      if (line.reset) place = { ...place, round: place.round + 1, sweeping: true, done: 0, want: [] };
      // What is still to come, behind what came before the line was cut. It is an estimate: a larger one must not take back what was shown.
      const total = place.done + line.total;
      place.total = place.done && place.total ? Math.min(total, place.total) : total;
    } else if ("cursor" in line) {
      if (!line.more) place.want = place.want.filter((key) => !asked.includes(key)); // what was asked for and did not come is not ours to hold
      place = await apply(means, page, place, line);
      page = [];
      end = line.more ? "more" : "done";
    } else page.push(line);
  }
  if (!end) throw new Offline();
  return end;
}

async function apply(
  means: PullMeans,
  page: readonly Line[],
  before: Place,
  line: { cursor: string; through: number; more: boolean },
): Promise<Place> {
  const { db, key } = means;
  const place = { ...before, want: [...before.want] };
  const keys = [...new Set(page.flatMap((l) => ("doc" in l ? [l.doc] : "patch" in l ? [l.patch] : "gone" in l ? [l.gone] : [])))];
  const rows = new Map<string, DocRow>();
  const slices = new Slices();
  for (let i = 0; i < keys.length; i += STEP_DOCS) {
    for (const row of await db.docs.bulkGet(keys.slice(i, i + STEP_DOCS))) if (row) rows.set(row.key, row);
    if (slices.over()) await slices.pause();
  }
  const changed = new Map<string, Held | null>();
  const verdicts: Verdict[] = [];
  const held = (k: string): { seq: number; round: number } | undefined => {
    const now = changed.has(k) ? changed.get(k) : rows.get(k);
    // While a reset is being filled, what an older round brought counts as not held: its seq says nothing any more.
    return now && !(place.sweeping && now.round !== place.round) ? now : undefined;
  };
  let latest = 0;

  for (const l of page) {
    if (slices.over()) await slices.pause();
    if ("verdict" in l) verdicts.push(l.verdict);
    else if ("doc" in l) {
      place.done++;
      place.want = place.want.filter((k) => k !== l.doc);
      const now = held(l.doc);
      if (now && now.seq >= l.seq) continue;
      changed.set(l.doc, { key: l.doc, seq: l.seq, round: place.round, body: l.body });
      latest = Math.max(latest, newest(l.body.fields), ...Object.values(l.body.sets).map(newest));
    } else if ("patch" in l) {
      const now = held(l.patch);
      if (!now) {
        if (!place.want.includes(l.patch)) place.want.push(l.patch);
        continue;
      }
      if (now.seq >= l.seq) continue;
      const base = changed.get(l.patch) ?? (await open(key, rows.get(l.patch) as DocRow));
      const body = copy(base.body);
      putPatch(body, l);
      changed.set(l.patch, { key: l.patch, seq: l.seq, round: place.round, body });
      latest = Math.max(latest, newest(l.set ?? {}), ...Object.values(l.add ?? {}).map(newest));
    } else if ("gone" in l) {
      changed.set(l.gone, null);
      place.want = place.want.filter((k) => k !== l.gone);
    }
  }

  place.cursor = line.cursor;
  place.through = line.through;
  let swept: string[] = [];
  if (!line.more) {
    if (place.sweeping) {
      const fresh = new Set([...changed].filter(([, now]) => now).map(([k]) => k));
      const old = await db.docs.where("round").notEqual(place.round).primaryKeys();
      swept = old.filter((k) => !fresh.has(k));
    }
    place.sweeping = false;
    place.done = 0;
    place.total = 0;
    place.last = means.wall();
  }
  const put = [...changed.values()].filter((now): now is Held => now !== null);
  const gone = [...[...changed].filter(([, now]) => now === null).map(([k]) => k), ...swept];
  const sealed: DocRow[] = [];
  for (let i = 0; i < put.length; i += STEP_DOCS) {
    sealed.push(...(await Promise.all(put.slice(i, i + STEP_DOCS).map((now) => seal(key, now)))));
    if (slices.over()) await slices.pause();
  }

  // Verdicts first: stored twice they change nothing, but a cursor past a verdict that was not stored would lose it.
  if (verdicts.length) await means.device.transaction("rw", means.device.ops, () => judge(means.device, verdicts));
  if (latest) await seen(means.device, latest, means.wall());
  await db.transaction("rw", db.docs, db.meta, async () => {
    for (let i = 0; i < sealed.length; i += STEP_DOCS) await db.docs.bulkPut(sealed.slice(i, i + STEP_DOCS));
    await db.docs.bulkDelete(gone);
    await db.meta.put({ id: "place", value: place });
  });
  await means.page({ put, gone, place });
  return place;
}

function newest(entries: Record<string, [unknown, number, number]>): number {
  let latest = 0;
  for (const name in entries) latest = Math.max(latest, (entries[name] as [unknown, number, number])[1]);
  return latest;
}

// The kinds on this phone: reads them from their documents, gathers what a rule may see from what this person holds, and asks the machine. Loaded when a
// space is opened, so that neither the machine nor its language weighs on the first screen.
import type { Answer, KindFile, View } from "../app/types";
import {
  type Actor,
  actor,
  type CompiledKind,
  card,
  compileKind,
  computedField,
  type Env,
  type Fields,
  isStop,
  judge,
  kindSource,
  nobody,
  type Rosters,
  SERVER,
  useKey,
  usesOf,
  type View as Seen,
  view,
} from "../flow";
import { fromMs } from "./hlc";
import { CALENDAR, PLANT, SERVER_AUTHOR } from "./ids";
import type { Author, Op, Values } from "./op";
import type { Saying } from "./outbox";
import type { Outcome, Rules, Standing } from "./replay";
import { basicView } from "./view";

export interface Situation {
  author: string;
  device: number;
  at: number;
  online: boolean;
  /** the phone's clock ran backwards since the last contact */
  unsure: boolean;
}

/** Where the rules look: what stands on this phone, who reads it, and when. */
export interface Sight {
  get(key: string): Standing | undefined;
  keys(kind: string): Iterable<string>;
  me(): string;
  now(): number;
}

export interface Flow extends Rules {
  /** a document as screens see it; computed fields are worked out when they are read */
  view(key: string, standing: Standing): View;
  /** what the phone's machine says to this now; a step that needs the server is refused without a network */
  may(saying: Saying, situation: Situation): Answer;
  /** what a person may do where; undefined while their record is not here */
  caps(person: string): Record<string, string[]> | undefined;
  /** names of the values to seal in what is said */
  personal(kind: string, version: number, verb: Op["verb"], name?: string): string[];
  /** these documents changed; returns the kinds that read differently now */
  observe(keys: readonly string[]): string[];
  kind(name: string, version?: number): KindFile | undefined;
  kinds(): KindFile[];
  forget(): void;
}

const COMPUTED_KEPT_MS = 1_000;
/** The author of what is about to be said without a name: judging asks only whether it is sealed. */
const NOBODY: Author = { sealed: "0".repeat(64) };
const PLANT_KEY = `plant/${PLANT}`;
const CALENDAR_KEY = `calendar/${CALENDAR}`;

export function createFlow(sight: Sight): Flow {
  const versions = new Map<string, Map<number, CompiledKind>>();
  /** by name and version: the later version whose rules hold for it */
  const takenOver = new Map<string, CompiledKind>();
  const retired = new Set<CompiledKind>();
  const actors = new Map<string, Actor>();
  const computedBy = new WeakMap<CompiledKind, object>();
  const singles = new Map<string, { body: Standing["body"] | undefined; view: Seen | null }>();
  let rosters: Rosters | null = null;
  let limits: Record<string, number> | null = null;

  const compiled = (name: string, version?: number): CompiledKind | undefined => {
    const known = versions.get(name);
    return takenOver.get(`${name}@${version}`) ?? known?.get(version ?? Math.max(...known.keys()));
  };
  const seen = (key: string): Seen | null => {
    const standing = sight.get(key);
    const kind = standing && compiled(key.slice(0, key.indexOf("/")), standing.body.version);
    return kind ? view(kind, key, standing.body) : null;
  };
  const shownToOthers = (key: string): Seen | null => {
    const standing = sight.get(key);
    const kind = standing && compiled(key.slice(0, key.indexOf("/")), standing.body.version);
    return kind ? card(kind, view(kind, key, standing.body)) : null;
  };

  function actorOf(person: string): Actor {
    if (person === SERVER_AUTHOR) return SERVER;
    let found = actors.get(person);
    if (!found) {
      const record = seen(`person/${person}`);
      const areas = [...sight.keys("area")].map(seen).filter((area) => area !== null);
      found = record ? actor(record, areas, (single(PLANT_KEY)?.roles ?? null) as Record<string, string[]> | null) : nobody(person);
      actors.set(person, found);
    }
    return found;
  }

  function limitsNow(): Record<string, number> {
    if (!limits) {
      limits = {};
      for (const key of sight.keys("limit")) {
        const limit = seen(key);
        if (limit && limit.status !== "retired" && typeof limit.value === "number") limits[limit.name as string] = limit.value;
      }
    }
    return limits;
  }

  function env(author: string, now: number, opId = ""): Env {
    return {
      actor: actorOf(author),
      now,
      opId,
      plant: single(PLANT_KEY),
      calendar: single(CALENDAR_KEY),
      rosters: rostersNow(),
      limits: limitsNow(),
    };
  }

  function computedOf(kind: CompiledKind): object | null {
    const names = Object.keys(kind.kind.computed ?? {});
    if (!names.length) return null;
    let shared = computedBy.get(kind);
    if (!shared) {
      shared = {};
      for (const name of names) {
        const kept = new WeakMap<Seen, { value: unknown; at: number }>();
        Object.defineProperty(shared, name, {
          get(this: Seen) {
            const now = sight.now();
            let last = kept.get(this);
            if (!last || now - last.at > COMPUTED_KEPT_MS || now < last.at) {
              last = { value: computedField(kind, name, this, { ...env(sight.me(), now), uses: usesFor(kind, this) }), at: now };
              kept.set(this, last);
            }
            return last.value;
          },
        });
      }
      computedBy.set(kind, shared);
    }
    return shared;
  }

  function usesFor(kind: CompiledKind, of: Seen): Record<string, Seen | null> {
    const uses: Record<string, Seen | null> = {};
    for (const use of Object.keys(kind.kind.uses ?? {})) {
      const used = useKey(kind, use, of, uses);
      uses[use] = used === null ? null : shownToOthers(used);
    }
    return uses;
  }

  /** The view of a document of which there is one. */
  function single(key: string): Seen | null {
    const body = sight.get(key)?.body;
    let kept = singles.get(key);
    if (!kept || kept.body !== body) {
      kept = { body, view: seen(key) };
      singles.set(key, kept);
    }
    return kept.view;
  }

  function rostersNow(): Rosters {
    if (!rosters) {
      const views = [...sight.keys("roster")].map(seen).filter((roster) => roster !== null);
      const areas = [...sight.keys("area")].map(seen).filter((area) => area !== null);
      rosters = { views, parents: Object.fromEntries(areas.map((area) => [area.id, (area.parent as string | null) ?? null])) };
    }
    return rosters;
  }

  function decide(op: Op, opId: string, standing: Standing | undefined, author: string, at: number): Outcome {
    const name = op.doc.slice(0, op.doc.indexOf("/"));
    const version = op.verb === "new" ? op.version : standing?.body.version;
    const kind = version === undefined ? undefined : compiled(name, version);
    if (!kind) return { parked: standing || op.verb === "new" ? "op.awaits_kind" : "op.awaits_document", params: { kind: name, version } };
    const body = standing?.body ?? null;
    const outcome = judge(kind, body, op, { ...env(author, at, opId), uses: usesOf(kind, op, body, shownToOthers), opened: true });
    if (outcome.outcome === "refused") return { refused: outcome.code, params: outcome.params };
    if (outcome.outcome === "parked") return { parked: outcome.code, params: outcome.params };
    const spawns = outcome.spawns.flatMap((spawn) => {
      const of = compiled(spawn.kind);
      return of ? [{ ...spawn, version: of.kind.version }] : [];
    });
    return { ok: { status: outcome.status, fields: outcome.fields, items: outcome.items, spawns, acts: outcome.acts } };
  }

  return {
    judge: decide,

    view(key, standing) {
      const kind = compiled(key.slice(0, key.indexOf("/")), standing.body.version);
      if (!kind) return basicView(key, standing);
      const found = view(kind, key, standing.body);
      const computed = computedOf(kind);
      // Among ten thousand documents most are never asked for a computed field: they share getters, and each keeps only what was asked.
      return computed ? Object.setPrototypeOf(found, computed) : found;
    },

    may(saying, situation) {
      const { author, device, at, online, unsure } = situation;
      const op = asOp(saying, device, at, saying.anonymous ? NOBODY : author);
      const standing = saying.verb === "new" ? undefined : sight.get(saying.doc);
      const name = saying.doc.slice(0, saying.doc.indexOf("/"));
      const kind = compiled(name, saying.verb === "new" ? saying.version : standing?.body.version);
      if (saying.verb === "new" && kind && retired.has(kind))
        return { ok: false, code: "flow.kind_retired", params: { kind: name, version: saying.version } };
      const step = saying.verb === "act" ? kind?.transitions[saying.transition] : undefined;
      const outcome = decide(op, "", standing, author, at);
      if ("refused" in outcome) {
        // A stop is said whatever the phone thinks of it, if only it is filled in: the server has the last word.
        if (kind && op.verb === "act" && isStop(kind, op) && !outcome.refused.startsWith("flow.field_")) return { ok: true };
        return { ok: false, code: outcome.refused, params: outcome.params };
      }
      if (step?.offline === "no" && !online) return { ok: false, code: "flow.needs_network" };
      if (step?.start && step.offline === "grant" && unsure) return { ok: false, code: "clock.unsure" };
      return { ok: true };
    },

    caps(person) {
      return sight.get(`person/${person}`) && sight.get(PLANT_KEY) ? actorOf(person).caps : undefined;
    },

    personal(name, version, verb, part = "") {
      const kind = compiled(name, version);
      const fields: Fields | undefined =
        verb === "add" ? kind?.sets[part]?.fields : verb === "act" ? kind?.transitions[part]?.input : kind?.fields;
      return Object.entries(fields ?? {}).flatMap(([field, spec]) => (spec.personal ? [field] : []));
    },

    observe(keys) {
      const news = new Set<string>();
      for (const key of keys) {
        const of = key.slice(0, key.indexOf("/"));
        if (of === "person" || of === "plant" || of === "area") actors.clear();
        if (of === "limit") limits = null;
        if (of === "roster" || of === "area") rosters = null;
        if (of === "plant" || of === "calendar") singles.clear();
        const standing = of === "kind" ? sight.get(key) : undefined;
        if (!standing) continue;
        const kind = compileKind(kindSource(basicView(key, standing)));
        const known = versions.get(kind.name) ?? new Map<number, CompiledKind>();
        versions.set(kind.name, known.set(kind.kind.version, kind));
        for (const earlier of kind.kind.takes_over ?? []) {
          const at = `${kind.name}@${earlier}`;
          if ((takenOver.get(at)?.kind.version ?? 0) <= kind.kind.version) takenOver.set(at, kind);
        }
        if (standing.body.status !== "in_use") retired.add(kind);
        news.add(kind.name);
      }
      // Whoever reads roles or limits reads them through kinds.
      if (news.has("person") || news.has("plant") || news.has("area")) actors.clear();
      if (news.has("limit")) limits = null;
      if (news.has("roster") || news.has("area")) rosters = null;
      if (news.has("plant") || news.has("calendar")) singles.clear();
      return [...news];
    },

    kind: (name, version) => compiled(name, version)?.kind as KindFile | undefined,
    kinds: () => [...versions.keys()].flatMap((name) => (compiled(name)?.kind as KindFile | undefined) ?? []),

    forget() {
      versions.clear();
      takenOver.clear();
      retired.clear();
      actors.clear();
      singles.clear();
      rosters = null;
      limits = null;
    },
  };
}

/** What is about to be said, as the op it would become. */
function asOp(saying: Saying, device: number, at: number, author: Author): Op {
  const head = { device, hlc: fromMs(at), at, author, doc: saying.doc };
  if (saying.verb === "new") return { verb: "new", ...head, version: saying.version, fields: saying.fields };
  if (saying.verb === "set") return { verb: "set", ...head, fields: saying.fields };
  if (saying.verb === "add") return { verb: "add", ...head, set: saying.set, itemId: saying.itemId, item: saying.item as Values };
  return { verb: "act", ...head, transition: saying.transition, input: saying.input, base: saying.base };
}

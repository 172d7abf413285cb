// What a kind says. Twin of backend/flow/kind.py, where each part is explained; the wire form has `extends` resolved and defaults left out.
import type { Label, View } from "../app/types";
import { Program } from "./cel";
import { CelSyntax, type Scope } from "./celtext";

/** A rule's text in the subset of celtext.ts. */
export type Cel = string;

export type { Label };

export interface Law {
  id: string;
  clause?: string;
  sure?: "A" | "B" | "C";
}

export interface Source {
  zh: string;
  en: string;
  read?: string;
}

export interface Rule {
  rule: Cel;
  else: string;
  params?: Record<string, Cel>;
}

export type FieldType =
  | "text"
  | "number"
  | "yes_no"
  | "choice"
  | "choices"
  | "time"
  | "date"
  | "duration"
  | "ref"
  | "refs"
  | "place"
  | "media"
  | "signature"
  | "scan"
  | "label"
  | "table"
  | "section"
  | "list"
  | "map";

export interface Field {
  type: FieldType;
  title?: Label;
  help?: Label;
  picture?: string;
  required?: boolean;
  show?: Cel;
  check?: Rule[];
  default?: unknown;
  of?: string | Record<string, Label>;
  unit?: string;
  min?: number;
  max?: number;
  step?: number;
  limits?: Record<string, unknown>[];
  personal?: boolean;
  opens?: Cel;
  only_by?: string[];
  columns?: Record<string, Field>;
  item?: Field;
  fields?: string[];
  law?: Law;
}
export type Fields = Record<string, Field>;

export interface Spawn {
  name: string;
  kind: string;
  fields: Record<string, Cel>;
  when?: Cel;
}

export interface FollowAct {
  name: string;
  doc: Cel;
  transition: string;
  input?: Record<string, Cel>;
  when?: Cel;
}

export interface Tell {
  who: Cel;
  what: string;
  params?: Record<string, Cel>;
  when?: Cel;
}

/** What `new`, an added item and a transition have in common. */
export interface Does {
  who?: Cel;
  server?: boolean;
  /** Its author may be sealed: `who` and `needs` know him, what is written does not. */
  anonymous?: boolean;
  needs?: Rule[];
  set?: Record<string, Cel>;
  spawn?: Spawn[];
  acts?: FollowAct[];
  tell?: Tell[];
}

export interface SetSpec extends Does {
  fields: Fields;
  title?: Label;
  help?: Label;
  /** Over the item: it stops something, so that it counts at once whoever said it. */
  stop_when?: Cel;
}

export interface State {
  title: Label;
  start?: boolean;
  end?: boolean;
  level?: "normal" | "blue" | "yellow" | "orange" | "red" | "quiet";
}

export interface Transition extends Does {
  from?: string[] | "*";
  to?: string | Record<string, Cel>;
  title?: Label;
  help?: Label;
  input?: Fields;
  add?: Record<string, Record<string, Cel>>;
  stop?: boolean;
  start?: boolean;
  approval?: boolean;
  offline?: "no" | "claim" | "grant";
  tone?: "primary" | "plain" | "danger";
}

export interface CheckOption {
  value: string;
  title: Label;
  ok: boolean;
}

export interface CheckCondition {
  id: string;
  title: Label;
  min: number | null;
  max: number | null;
}

export interface CheckItem {
  id: string;
  title: Label;
  type: "yes_no" | "number" | "choice";
  critical: boolean;
  photo_on_fail: boolean;
  hint: Label;
  pictogram: string;
  dwell_s: number;
  law: Law | null;
  law_scope: "direct" | "general" | "none";
  sure: "A" | "B" | "C";
  unit: string | null;
  min: number | null;
  max: number | null;
  options: CheckOption[];
  conditions: CheckCondition[];
  plant_sets_limit: boolean;
  limit_sure: "A" | "B" | "C" | null;
  na_allowed: boolean;
}

/** The name of the limit that stands over a check item's bound, where there is such a limit. */
export const boundKey = (item: string, bound: "min" | "max", condition?: string): string =>
  ["check", item, ...(condition ? [condition] : []), bound].join(".");

/** A check item as rules and screens see it: the plant's limits stand over the file's bounds. */
export function within(item: CheckItem, limits: Readonly<Record<string, number>>): CheckItem {
  const bounds = (of: CheckItem | CheckCondition, condition?: string) => ({
    min: limits[boundKey(item.id, "min", condition)] ?? of.min,
    max: limits[boundKey(item.id, "max", condition)] ?? of.max,
  });
  if (item.type !== "number") return item;
  return { ...item, ...bounds(item), conditions: item.conditions.map((one) => ({ ...one, ...bounds(one, one.id) })) };
}

export interface Checklist {
  id: string;
  equipment_types: Record<string, Label>;
  modes: string[];
  interval: Label;
  by_role: string[];
  shuffle?: boolean;
  random_proof_photo_ratio?: number;
  min_total_dwell_ratio?: number;
  sure?: "A" | "B" | "C";
}

export interface Kind {
  kind: string;
  version: number;
  /** earlier versions whose documents follow this one's rules */
  takes_over?: number[];
  title: Label;
  states: Record<string, State>;
  help?: Label;
  icon?: string;
  law?: Law;
  sources?: Record<string, Source>;
  fields?: Fields;
  sets?: Record<string, SetSpec>;
  computed?: Record<string, { rule: Cel; title?: Label; type?: FieldType; unit?: string }>;
  uses?: Record<string, { at: string; required?: boolean }>;
  card?: string[];
  placement?: Cel[];
  opens?: Cel;
  new?: Does;
  edit?: { fields: string[]; who: Cel }[];
  transitions?: Record<string, Transition>;
  deadlines?: { while: string[]; at: Cel; do: string; input?: Record<string, Cel> }[];
  keep?: { years?: number; places_days?: number };
  texts?: Record<string, Label>;
  checklist?: Checklist;
  items?: CheckItem[];
}

const ALWAYS = ["id", "key", "kind", "version", "status"];
const CHECKLIST = [
  "id",
  "equipment_types",
  "modes",
  "interval",
  "by_role",
  "shuffle",
  "random_proof_photo_ratio",
  "min_total_dwell_ratio",
  "sure",
];
const ACTOR = ["id", "roles", "server"];

type Items = ReadonlyMap<string, Record<string, unknown>>;
const UNSAID = { options: [], conditions: [], plant_sets_limit: false, limit_sure: null, unit: null, min: null, max: null };

/** A kind that is ready to run. Each rule is compiled once, when it is first needed. */
export class CompiledKind {
  readonly name: string;
  /** The state that a document begins in. */
  readonly start: string;
  readonly fields: Fields;
  readonly sets: Record<string, SetSpec>;
  readonly transitions: Record<string, Transition>;
  /** The check list by id, as its file has it. */
  readonly items: ReadonlyMap<string, CheckItem>;
  private within: { limits: Readonly<Record<string, number>>; items: Items } | null = null;
  /** Names of the fields that hold personal values; `set.entry` for those of a set's items. */
  readonly personal: string[];
  private readonly programs = new Map<string, Program | CelSyntax>();
  private readonly scopes = new Map<string, Scope>();

  constructor(readonly kind: Kind) {
    this.name = kind.kind;
    this.start = Object.entries(kind.states).find(([, state]) => state.start)?.[0] ?? "";
    this.fields = kind.fields ?? {};
    this.sets = kind.sets ?? {};
    this.transitions = kind.transitions ?? {};
    this.items = new Map((kind.items ?? []).map((item) => [item.id, { ...UNSAID, ...item }]));
    const personal = (fields: Fields): string[] => Object.keys(fields).filter((name) => fields[name]?.personal);
    const ofSets = Object.entries(this.sets).flatMap(([name, { fields }]) => personal(fields).map((entry) => `${name}.${entry}`));
    this.personal = [...personal(this.fields), ...ofSets];
  }

  /** The check list by id, as rules see it: the plant's limits stand over the file's bounds. */
  itemsWithin(limits: Readonly<Record<string, number>>): Items {
    if (this.within?.limits !== limits)
      this.within = { limits, items: new Map([...this.items].map(([name, item]) => [name, { ...within(item, limits) }])) };
    return this.within.items;
  }

  /** The rule, compiled. `where`: `doc`, `new`, `set:<name>`, `act:<name>`, and ` value` after it for a `check`. Throws CelSyntax. */
  program(text: Cel, where: string): Program {
    const key = `${where}\n${text}`;
    let found = this.programs.get(key);
    if (!found) {
      try {
        found = new Program(text, this.scope(where));
      } catch (error) {
        if (!(error instanceof CelSyntax)) throw error;
        found = error;
      }
      this.programs.set(key, found);
    }
    if (found instanceof CelSyntax) throw found;
    return found;
  }

  /** The names that a rule may use. */
  scope(where: string): Scope {
    let found = this.scopes.get(where);
    if (!found) {
      const scope: Record<string, ReadonlySet<string> | null> = {
        doc: new Set([...ALWAYS, ...Object.keys(this.fields), ...Object.keys(this.sets), ...Object.keys(this.kind.computed ?? {})]),
        actor: new Set(ACTOR),
        now: null,
        uses: new Set(Object.keys(this.kind.uses ?? {})),
        plant: null,
      };
      if (this.kind.checklist) scope.checklist = new Set(CHECKLIST);
      const [place, extra] = where.split(" ");
      const [sort, name] = (place ?? "").split(":");
      if (sort === "act") scope.input = new Set(Object.keys(this.transitions[name ?? ""]?.input ?? {}));
      if (sort === "set") scope.item = new Set(["id", "by", "at", ...Object.keys(this.sets[name ?? ""]?.fields ?? {})]);
      if (extra === "value") scope.value = null;
      found = scope;
      this.scopes.set(where, found);
    }
    return found;
  }
}

/** A kind ready to run, from its wire form: the server has checked it. */
export function compileKind(source: unknown): CompiledKind {
  return new CompiledKind(source as Kind);
}

const CHUNKS_MAX = 8;

/** The content of a kind from its document's view: its text stands in `source`, `source_2`, … because a value holds 16 KB. */
export function kindSource(view: View | Record<string, unknown>): Kind {
  let text = typeof view.source === "string" ? view.source : "";
  for (let n = 2; n <= CHUNKS_MAX; n++) {
    const piece = view[`source_${n}`];
    if (typeof piece === "string") text += piece;
  }
  return JSON.parse(text) as Kind;
}

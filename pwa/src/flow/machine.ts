// What an op does to a document. Pure. Twin of backend/flow/machine.py, which says what sees what in which order.
import { spawned } from "../sync/ids";
import type { Body } from "../sync/merge";
import { type Act, type Add, hasOwn, type New, type Op, type SetFields } from "../sync/op";
import { type Actor, anywhere, has, nobody, SERVER } from "./actor";
import { Calendar, type Rosters } from "./calendar";
import { RuleFailed, type Surroundings } from "./cel";
import { CelSyntax } from "./celtext";
import { isSealed, mediaOf, validate as validateForm, type Wrong, wrongValue } from "./form";
import type { CompiledKind, Does, Field, Fields, Rule } from "./kind";

type Values = Record<string, unknown>;

/** A document as rules and screens see it: `id`, `key`, `kind`, `version`, `status`, every field (absent: null), each set as a list by clock. */
export interface View {
  id: string;
  key: string;
  kind: string;
  version: number;
  status: string;
  [field: string]: unknown;
}

/** What surrounds an op. `now` is the op's time, Unix ms. `uses`: the cards of what the kind's `uses` point to. `plant`: its view. */
export interface Env {
  actor: Actor;
  now: number;
  opId?: string;
  uses?: Readonly<Record<string, View | null>>;
  plant?: Readonly<Values> | null;
  /** The calendar's view, where one stands. */
  calendar?: Readonly<Values> | null;
  /** Who is on duty. */
  rosters?: Rosters;
  limits?: Readonly<Record<string, number>>;
  /** A stop stands that the op's author had not seen. */
  unseenStops?: boolean;
  /** What is written must not say who: set here, for an anonymous op. */
  unnamed?: boolean;
  /** The phone that sealed this op sees what is under the seals: its own personal values stand open. */
  opened?: boolean;
}

export interface Spawn {
  name: string;
  kind: string;
  fields: Values;
}
export interface FollowAct {
  name: string;
  doc: string;
  transition: string;
  input: Values;
}
export interface Tell {
  who: string;
  what: string;
  params: Values;
}
/** What an accepted op does. `fields` and `items` are plain values: sync gives them their clocks. */
export interface Change {
  outcome: "change";
  status: string | null;
  fields: Values;
  items: Record<string, Record<string, Values>>;
  spawns: Spawn[];
  acts: FollowAct[];
  tells: Tell[];
  media: string[];
}
export interface Refused {
  outcome: "refused";
  code: string;
  params: Values;
}
export interface Parked {
  outcome: "parked";
  code: string;
  params: Values;
}
export type Outcome = Change | Refused | Parked;

/** Decide on one op. Never throws for what an op or a kind says. */
export function judge(kind: CompiledKind, body: Body | null, op: Op, env: Env): Outcome {
  try {
    if (typeof op.author !== "string") anonymous(kind, op);
    if (op.verb === "new") return judgeNew(kind, body, op, env);
    if (!body) return { outcome: "parked", code: "op.awaits_document", params: { doc: op.doc } };
    return op.verb === "set"
      ? judgeSet(kind, body, op, env)
      : op.verb === "add"
        ? judgeAdd(kind, body, op, env)
        : judgeAct(kind, body, op, env);
  } catch (error) {
    if (error instanceof Stop) return error.outcome;
    if (error instanceof RuleFailed) return { outcome: "refused", code: error.code, params: error.params };
    if (error instanceof CelSyntax) return { outcome: "refused", code: "flow.rule_failed", params: {} };
    throw error;
  }
}

/** Only what the kind says may be said by a sealed author, and every stop. */
function anonymous(kind: CompiledKind, op: Op): void {
  let allowed = false;
  if (op.verb === "new") allowed = kind.kind.new?.anonymous === true;
  if (op.verb === "add") allowed = own(kind.sets, op.set)?.anonymous === true;
  if (op.verb === "act") {
    const spec = own(kind.transitions, op.transition);
    allowed = spec?.anonymous === true || spec?.stop === true;
  }
  if (!allowed) throw refuse("flow.not_anonymous");
}

/** Whether this stops something: a transition marked `stop`, or an item of a set whose `stop_when` holds. Those are taken at once, whoever said them. */
export function isStop(kind: CompiledKind, op: Op): boolean {
  if (op.verb === "act") return own(kind.transitions, op.transition)?.stop === true;
  const spec = op.verb === "add" ? own(kind.sets, op.set) : undefined;
  if (op.verb !== "add" || spec?.stop_when === undefined) return false;
  const item = { ...blank(spec.fields), ...op.item, id: op.itemId };
  try {
    return holds(kind, spec.stop_when, `set:${op.set}`, { actor: nobody(""), now: 0 }, {}, { item });
  } catch (error) {
    if (error instanceof RuleFailed || error instanceof CelSyntax) return false;
    throw error;
  }
}

function writingOf(env: Env, op: Op): Env {
  return typeof op.author === "string" ? env : { ...env, unnamed: true };
}

function byOf(env: Env): string | null {
  return env.unnamed ? null : env.actor.id;
}

/** Ends a judgement. */
class Stop extends Error {
  constructor(readonly outcome: Refused | Parked) {
    super(outcome.code);
  }
}

function refuse(code: string, params: Values = {}): Stop {
  return new Stop({ outcome: "refused", code, params });
}

function changed(change: Partial<Change>): Change {
  return { outcome: "change", status: null, fields: {}, items: {}, spawns: [], acts: [], tells: [], media: [], ...change };
}

function judgeNew(kind: CompiledKind, body: Body | null, op: New, env: Env): Outcome {
  if (body) return { outcome: "refused", code: "op.exists", params: { doc: op.doc } };
  const spec = kind.kind.new ?? {};
  mayAtAll(spec, env, "new");
  const given = known(op.fields);
  for (const name of Object.keys(given)) {
    const field = own(kind.fields, name);
    const onlyBy = field?.only_by ?? [];
    if (!env.actor.server && (own(spec.set ?? {}, name) !== undefined || (onlyBy.length && !onlyBy.includes("new")))) {
      throw refuse("flow.field_readonly", { field: name });
    }
  }
  let fields: Values = { ...defaults(kind.fields, given), ...given };
  let seen = begun(kind, op, fields);
  waitForUses(kind, env, seen);
  const writing = writingOf(env, op);
  for (const [name, text] of Object.entries(spec.set ?? {})) {
    if (!(env.actor.server && hasOwn(given, name))) fields[name] = run(kind, text, "new", writing, seen);
  }
  fields = known(fields);
  seen = begun(kind, op, fields);
  who(kind, spec, "new", env, seen, "new", {});
  form(kind, kind.fields, fields, true, "doc", env, seen, {});
  sealed(kind.fields, fields, env);
  needs(kind, spec.needs, "new", env, seen, {});
  return follow(kind, spec, "new", writing, seen, changed({ status: kind.start, fields, media: mediaOf(kind.fields, fields) }), {});
}

function begun(kind: CompiledKind, op: New, fields: Values): View {
  return view(kind, op.doc, unclocked(op.version, kind.start, fields));
}

function unclocked(version: number, status: string, fields: Values): Body {
  return { version, status, fields: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, [value, 0, 0]])), sets: {} };
}

function judgeSet(kind: CompiledKind, body: Body, op: SetFields, env: Env): Outcome {
  const before = view(kind, op.doc, body);
  for (const name of Object.keys(op.fields).sort()) {
    if (own(kind.fields, name) === undefined) throw refuse("flow.field_unknown", { field: name });
    const edits = (kind.kind.edit ?? []).filter((edit) => edit.fields.includes(name));
    if (!edits.length) throw refuse("flow.field_readonly", { field: name });
    if (!env.actor.server && !edits.some((edit) => holds(kind, edit.who, "doc", env, before, {})))
      throw refuse("flow.not_allowed", { what: name });
  }
  form(kind, kind.fields, op.fields, false, "doc", env, { ...before, ...op.fields }, {});
  sealed(kind.fields, op.fields, env);
  return changed({ fields: { ...op.fields }, media: mediaOf(kind.fields, op.fields) });
}

function judgeAdd(kind: CompiledKind, body: Body, op: Add, env: Env): Outcome {
  const spec = own(kind.sets, op.set);
  if (!spec) throw refuse("flow.set_unknown", { set: op.set });
  mayAtAll(spec, env, op.set);
  const where = `set:${op.set}`;
  const seen = view(kind, op.doc, body);
  const item = known(op.item);
  const more = { item: { ...blank(spec.fields), ...item, id: op.itemId, by: env.actor.id, at: env.now } };
  waitForUses(kind, env, seen, item);
  who(kind, spec, where, env, seen, op.set, more);
  form(kind, spec.fields, item, true, where, env, seen, more);
  sealed(spec.fields, item, env);
  needs(kind, spec.needs, where, env, seen, more);
  const change = changed({ items: { [op.set]: { [op.itemId]: item } }, media: mediaOf(spec.fields, item) });
  const writing = writingOf(env, op);
  return follow(kind, spec, where, writing, seen, change, { item: { ...more.item, by: byOf(writing) } });
}

function judgeAct(kind: CompiledKind, body: Body, op: Act, env: Env): Outcome {
  const name = op.transition;
  const spec = own(kind.transitions, name);
  if (!spec) throw refuse("flow.transition_unknown", { transition: name });
  mayAtAll(spec, env, name);
  const where = `act:${name}`;
  const before = view(kind, op.doc, body);
  const { status } = body;
  const state = own(kind.kind.states, status);
  if (!state || state.end) throw refuse("flow.ended", { transition: name, status });
  if (!spec.stop && Array.isArray(spec.from) && !spec.from.includes(status)) throw refuse("flow.wrong_state", { transition: name, status });
  if (spec.start && env.unseenStops) throw refuse("flow.stopped_since", { transition: name });
  const inputs = spec.input ?? {};
  const given = known(op.input);
  Object.assign(given, defaults(inputs, given));
  const more = { input: { ...blank(inputs), ...given } };
  waitForUses(kind, env, before, more.input);
  who(kind, spec, where, env, before, name, more);
  form(kind, inputs, given, true, where, env, before, more);
  needs(kind, spec.needs, where, env, before, more);
  const to = target(kind, spec.to, where, env, before, more);
  const writing = writingOf(env, op);
  const written: Values = {};
  for (const [field, text] of Object.entries(spec.set ?? {})) written[field] = run(kind, text, where, writing, before, more);
  for (const [field, value] of Object.entries(written)) {
    const specOf = own(kind.fields, field);
    if (!specOf || (value !== null && wrongValue(field, specOf, value))) throw refuse("flow.rule_failed");
  }
  const after: View = { ...before, ...written, status: to ?? status };
  const items: Record<string, Record<string, Values>> = {};
  for (const [setName, parts] of Object.entries(spec.add ?? {})) {
    const item: Values = {};
    for (const [part, text] of Object.entries(parts)) item[part] = run(kind, text, where, writing, before, more);
    const id = spawned(env.opId ?? "", setName);
    items[setName] = { [id]: known(item) };
    const fields = own(kind.sets, setName)?.fields ?? {};
    after[setName] = [...(after[setName] as unknown[]), { ...blank(fields), ...known(item), by: byOf(writing), at: env.now, id }];
  }
  const change = changed({ status: to !== status ? to : null, fields: written, items, media: mediaOf(inputs, given) });
  return follow(kind, spec, where, writing, after, change, more);
}

interface More {
  input?: Values;
  item?: Values;
  value?: unknown;
}

function target(
  kind: CompiledKind,
  to: string | Record<string, string> | undefined,
  where: string,
  env: Env,
  seen: View,
  more: More,
): string | null {
  if (typeof to !== "object") return to ?? null;
  for (const [state, text] of Object.entries(to)) if (holds(kind, text, where, env, seen, more)) return state;
  throw refuse("flow.rule_failed");
}

function mayAtAll(spec: Does, env: Env, what: string): void {
  if (spec.server && !env.actor.server) throw refuse("flow.server_only", { what });
}

function waitForUses(kind: CompiledKind, env: Env, seen: View, given: Readonly<Values> = {}): void {
  for (const [name, use] of Object.entries(kind.kind.uses ?? {})) {
    if (!use.required || (env.uses?.[name] ?? null) !== null) continue;
    const key = useKey(kind, name, seen, env.uses ?? {}, given);
    if (key !== null) throw new Stop({ outcome: "parked", code: "op.awaits_document", params: { doc: key } });
  }
}

/** What is personal comes sealed, or it would stand in the ledger in clear for good. */
function sealed(fields: Fields, values: Values, env: Env): void {
  if (env.opened) return;
  for (const name of Object.keys(values).sort()) {
    if (own(fields, name)?.personal && (values[name] ?? null) !== null && !isSealed(values[name]))
      throw refuse("flow.field_unsealed", { field: name });
  }
}

function form(kind: CompiledKind, fields: Fields, values: Values, whole: boolean, where: string, env: Env, seen: View, more: More): void {
  const [first] = wrongsIn(kind, fields, values, whole, where, env, seen, more);
  if (first) throw refuse(first.code, first.params);
}

function wrongsIn(
  kind: CompiledKind,
  fields: Fields,
  values: Values,
  whole: boolean,
  where: string,
  env: Env,
  seen: View,
  more: More,
): Wrong[] {
  return validateForm(fields, values, {
    whole,
    shown: (_, field) => field.show === undefined || holds(kind, field.show, where, env, seen, more),
    check: (name, field, value) => {
      for (const rule of field.check ?? []) {
        const at = `${where} value`;
        try {
          if (!holds(kind, rule.rule, at, env, seen, { ...more, value })) {
            return { field: name, code: rule.else, params: { field: name, ...params(kind, rule, at, env, seen, { ...more, value }) } };
          }
        } catch (error) {
          if (!(error instanceof RuleFailed)) throw error;
          return { field: name, code: error.code, params: { field: name, ...error.params } };
        }
      }
      return null;
    },
  });
}

function who(kind: CompiledKind, spec: Does, where: string, env: Env, seen: View, what: string, more: More): void {
  if (env.actor.server) return;
  if (spec.who === undefined || !holds(kind, spec.who, where, env, seen, more)) throw refuse("flow.not_allowed", { what });
}

function needs(kind: CompiledKind, rules: Rule[] | undefined, where: string, env: Env, seen: View, more: More): void {
  for (const rule of rules ?? []) {
    if (!holds(kind, rule.rule, where, env, seen, more)) throw refuse(rule.else, params(kind, rule, where, env, seen, more));
  }
}

function params(kind: CompiledKind, rule: Rule, where: string, env: Env, seen: View, more: More): Values {
  return Object.fromEntries(Object.entries(rule.params ?? {}).map(([name, text]) => [name, run(kind, text, where, env, seen, more)]));
}

/** What the op brings about elsewhere. */
function follow(kind: CompiledKind, spec: Does, where: string, env: Env, seen: View, change: Change, more: More): Change {
  const all = (texts: Record<string, string> | undefined): Values =>
    Object.fromEntries(Object.entries(texts ?? {}).map(([name, text]) => [name, run(kind, text, where, env, seen, more)]));
  const when = (text: string | undefined): boolean => text === undefined || holds(kind, text, where, env, seen, more);
  for (const spawn of spec.spawn ?? []) {
    if (when(spawn.when)) change.spawns.push({ name: spawn.name, kind: spawn.kind, fields: known(all(spawn.fields)) });
  }
  for (const act of spec.acts ?? []) {
    if (!when(act.when)) continue;
    const doc = run(kind, act.doc, where, env, seen, more);
    const input = known(all(act.input));
    if (typeof doc !== "string") throw refuse("flow.rule_failed");
    change.acts.push({ name: act.name, doc, transition: act.transition, input });
  }
  for (const tell of spec.tell ?? []) {
    if (!when(tell.when)) continue;
    const heard = run(kind, tell.who, where, env, seen, more);
    const said = all(tell.params);
    for (const one of Array.isArray(heard) ? heard : [heard])
      if (typeof one === "string") change.tells.push({ who: one, what: tell.what, params: said });
  }
  return change;
}

function holds(kind: CompiledKind, text: string, where: string, env: Env, seen: Readonly<Values>, more: More): boolean {
  const value = run(kind, text, where, env, seen, more);
  if (typeof value !== "boolean") throw new RuleFailed("flow.rule_failed", "type");
  return value;
}

/** A rule's value over a document's view. Throws RuleFailed, CelSyntax. */
export function run(
  kind: CompiledKind,
  text: string,
  where: string,
  env: Env,
  seen: Readonly<Values>,
  more: More = {},
  inside: readonly string[] = [],
): unknown {
  const get = (root: string, name: string): unknown => {
    switch (root) {
      case "doc": {
        const computed = own(kind.kind.computed ?? {}, name);
        if (!computed) return seen[name];
        if (inside.includes(name)) throw new RuleFailed("flow.rule_failed", "circle");
        const known = memory(env, seen);
        if (!known.has(name)) known.set(name, run(kind, computed.rule, "doc", env, seen, {}, [...inside, name]));
        return known.get(name);
      }
      case "input":
        return more.input?.[name] ?? null;
      case "item":
        return more.item?.[name] ?? null;
      case "actor":
        return { id: byOf(env), roles: env.actor.roles, server: env.actor.server }[name];
      case "uses":
        return env.uses?.[name] ?? null;
      case "plant":
        return env.plant?.[name] ?? null;
      case "checklist":
        return (kind.kind.checklist as unknown as Values)[name] ?? null;
      case "now":
        return env.now;
      default:
        return more.value;
    }
  };
  return kind.program(text, where).run(get, surroundings(kind, env));
}

// Computed fields that were needed already, by surroundings and view: a judgement asks for the same ones again and again. Neither changes meanwhile.
const MEMORY = new WeakMap<Env, WeakMap<Readonly<Values>, Map<string, unknown>>>();

function memory(env: Env, seen: Readonly<Values>): Map<string, unknown> {
  const ofEnv = MEMORY.get(env) ?? new WeakMap<Readonly<Values>, Map<string, unknown>>();
  MEMORY.set(env, ofEnv);
  const known = ofEnv.get(seen) ?? new Map<string, unknown>();
  ofEnv.set(seen, known);
  return known;
}

function surroundings(kind: CompiledKind, env: Env): Surroundings {
  return {
    has: (cap, area) => has(env.actor, cap, area),
    anywhere: (cap) => anywhere(env.actor, cap),
    limits: env.limits ?? {},
    items: kind.itemsWithin(env.limits ?? {}),
    opId: env.opId ?? "",
    calendar: time(env),
    rosters: env.rosters ?? NOBODY_ON_DUTY,
  };
}

const NOBODY_ON_DUTY: Rosters = { views: [], parents: {} };
const TIMES = new WeakMap<Env, Calendar>();

/** The calendar ready to ask, or the plant where there is none. */
function time(env: Env): Calendar {
  let found = TIMES.get(env);
  if (!found) {
    found = new Calendar(env.calendar ?? null, env.plant ?? null);
    TIMES.set(env, found);
  }
  return found;
}

function own<T>(of: Readonly<Record<string, T>>, name: string): T | undefined {
  return hasOwn(of, name) ? of[name] : undefined;
}

function known(values: Readonly<Values>): Values {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== undefined));
}

function blank(fields: Fields): Values {
  return Object.fromEntries(Object.keys(fields).map((name) => [name, null]));
}

function defaults(fields: Fields, given: Readonly<Values>): Values {
  const found: Values = {};
  for (const [name, field] of Object.entries(fields)) {
    if ((field.default ?? null) !== null && !hasOwn(given, name)) found[name] = field.default;
  }
  return found;
}

// --- what is seen of a document

/** A document as rules and screens see it, its computed fields aside. */
export function view(kind: CompiledKind, key: string, body: Body): View {
  const slash = key.indexOf("/");
  const seen: View = { id: key.slice(slash + 1), key, kind: key.slice(0, slash), version: body.version, status: body.status };
  for (const field of Object.keys(kind.fields)) seen[field] = own(body.fields, field)?.[0] ?? null;
  for (const [setName, spec] of Object.entries(kind.sets)) {
    const entries = Object.entries(own(body.sets, setName) ?? {});
    entries.sort(([a, x], [b, y]) => x[1] - y[1] || x[2] - y[2] || (a < b ? -1 : 1));
    const nothing = { ...blank(spec.fields), by: null, at: null };
    seen[setName] = entries.map(([id, entry]) => ({ ...nothing, ...(entry[0] as Values), id }));
  }
  return seen;
}

/** The computed fields of a view; null where a rule gives no answer. */
export function computed(kind: CompiledKind, seen: View, env: Env): Values {
  return Object.fromEntries(Object.keys(kind.kind.computed ?? {}).map((name) => [name, computedField(kind, name, seen, env)]));
}

/** One computed field of a view; null where its rule gives no answer. */
export function computedField(kind: CompiledKind, name: string, seen: View, env: Env): unknown {
  const rule = own(kind.kind.computed ?? {}, name)?.rule;
  return rule === undefined ? null : answer(() => run(kind, rule, "doc", env, seen, {}, [name]), null);
}

function answer<T>(of: () => T, otherwise: T): T {
  try {
    return of();
  } catch (error) {
    if (error instanceof RuleFailed || error instanceof CelSyntax) return otherwise;
    throw error;
  }
}

/** What is wrong with a form as it is filled in: `new`, `set:<name>` or `act:<name>`. `seen`: the document, where there is one. */
export function validate(kind: CompiledKind, formOf: string, values: Readonly<Values>, env: Env, seen: View | null = null): Wrong[] {
  const { fields, where, document, more } = formSeen(kind, formOf, values, env, seen);
  return wrongsIn(kind, fields, known(values), true, where, env, document, more);
}

/** Whether a form asks for this field at all, as it is filled in so far. A rule that gives no answer hides nothing. */
export function shown(
  kind: CompiledKind,
  formOf: string,
  name: string,
  values: Readonly<Values>,
  env: Env,
  seen: View | null = null,
): boolean {
  const { fields, where, document, more } = formSeen(kind, formOf, values, env, seen);
  const rule = own(fields, name)?.show;
  return rule === undefined || answer(() => holds(kind, rule, where, env, document, more), true);
}

function formSeen(kind: CompiledKind, formOf: string, values: Readonly<Values>, env: Env, seen: View | null) {
  const colon = formOf.indexOf(":");
  const [sort, name] = colon < 0 ? [formOf, ""] : [formOf.slice(0, colon), formOf.slice(colon + 1)];
  const given = known(values);
  if (sort === "new") {
    const fields = Object.fromEntries(Object.entries(kind.fields).filter(([field, spec]) => isAsked(kind, field, spec)));
    const nothing = view(kind, `${kind.name}/`, unclocked(kind.kind.version, kind.start, {}));
    return { fields, where: "doc", document: { ...nothing, ...given } as View, more: {} as More };
  }
  if (!seen) throw new Error("a document's form needs the document");
  if (sort === "set") {
    const fields = own(kind.sets, name)?.fields ?? {};
    const item = { ...blank(fields), ...given, id: "", by: env.actor.id, at: env.now };
    return { fields, where: formOf, document: seen, more: { item } as More };
  }
  const fields = own(kind.transitions, name)?.input ?? {};
  return { fields, where: formOf, document: seen, more: { input: { ...blank(fields), ...given } } as More };
}

/** Whether a new document's form asks for a field: not what the flow sets, nor what only transitions write. */
function isAsked(kind: CompiledKind, name: string, field: Field): boolean {
  const onlyBy = field.only_by ?? [];
  return own(kind.kind.new?.set ?? {}, name) === undefined && (!onlyBy.length || onlyBy.includes("new"));
}

/** The key of the document that a `uses` points to, by what is known so far; null where nothing is pointed to. */
export function useKey(
  kind: CompiledKind,
  name: string,
  seen: Readonly<Values>,
  uses: Readonly<Record<string, View | null>>,
  given: Readonly<Values> = {},
): string | null {
  const path = (kind.kind.uses?.[name]?.at ?? "").split(".");
  const [root = "", field = ""] = path;
  let value: unknown;
  let of: string;
  if (root === "uses") {
    value = uses[field]?.[path[2] ?? ""];
    of = path[3] ?? "*";
  } else {
    value = root === "doc" ? seen[field] : given[field];
    of = pointsTo(root === "doc" ? own(kind.fields, field) : asked(kind, root, field));
  }
  if (typeof value !== "string") return null;
  return value.includes("/") ? value : `${of}/${value}`;
}

function pointsTo(field: Field | undefined): string {
  return typeof field?.of === "string" ? field.of : "*";
}

function asked(kind: CompiledKind, root: string, name: string): Field | undefined {
  const forms =
    root === "input" ? Object.values(kind.transitions).map((t) => t.input ?? {}) : Object.values(kind.sets).map((s) => s.fields);
  return forms.map((fields) => own(fields, name)).find((field) => field !== undefined);
}

/** What `uses` of an op read: `get(key)` gives a document's card, or null. The document's view as it is; of a `new`, its fields. */
export function usesOf(kind: CompiledKind, op: Op, body: Body | null, get: (key: string) => View | null): Record<string, View | null> {
  const found: Record<string, View | null> = {};
  const seen = op.verb === "new" ? begun(kind, op, known(op.fields)) : body ? view(kind, op.doc, body) : {};
  const given = op.verb === "add" ? op.item : op.verb === "act" ? op.input : {};
  for (const name of Object.keys(kind.kind.uses ?? {})) {
    const key = useKey(kind, name, seen, found, given);
    found[name] = key === null ? null : get(key);
  }
  return found;
}

/** What other kinds' rules may read of a document: the kind's `card`, or all that is not personal. */
export function card(kind: CompiledKind, seen: View): View {
  const names = kind.kind.card?.length ? kind.kind.card : Object.keys(kind.fields).filter((name) => !kind.fields[name]?.personal);
  const always = { id: seen.id, key: seen.key, kind: seen.kind, version: seen.version, status: seen.status };
  return { ...always, ...Object.fromEntries(names.map((name) => [name, seen[name] ?? null])) };
}

/** The shapes that hold the document. A rule that gives no answer places it nowhere. */
export function placement(kind: CompiledKind, seen: View, env: Env = { actor: SERVER, now: 0 }): string[] {
  const found = new Set<string>();
  for (const text of kind.kind.placement ?? []) {
    const value = answer(() => run(kind, text, "doc", env, seen), null);
    for (const shape of Array.isArray(value) ? value : [value]) if (typeof shape === "string") found.add(shape);
  }
  return [...found];
}

/** Names of the personal fields that the actor may read. */
export function opens(kind: CompiledKind, seen: View, env: Env): Set<string> {
  return new Set(
    kind.personal.filter((name) => {
      const [of = "", entry] = name.split(".");
      const field = entry === undefined ? kind.fields[of] : kind.sets[of]?.fields[entry];
      const rule = field?.opens ?? kind.kind.opens;
      return rule !== undefined && answer(() => holds(kind, rule, "doc", env, seen, {}), false);
    }),
  );
}

// What both languages were written down to do. tests/flow/test_flow_vectors.py runs the same files.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Actor, actor, has } from "../../src/flow/actor";
import { RuleFailed } from "../../src/flow/cel";
import { CelSyntax } from "../../src/flow/celtext";
import { wrongValue } from "../../src/flow/form";
import { compileKind, type Field } from "../../src/flow/kind";
import { computed, type Env, isStop, judge, opens, placement, run, type View, validate, view } from "../../src/flow/machine";
import type { Body } from "../../src/sync/merge";
import { decode } from "../../src/sync/op";

// biome-ignore lint/suspicious/noExplicitAny: vectors are JSON of every shape
type Json = any;
const read = (name: string): Json => JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}.json`, import.meta.url), "utf-8"));
const CEL = read("cel");
const FORM = read("form");
const MACHINE = read("machine");
const CALENDAR = read("calendar");

function envOf(raw: Json): Env {
  const { op_id: opId, unseen_stops: unseenStops, ...rest } = raw;
  return { opId, unseenStops, ...rest };
}

// What JSON holds of a value: -0 is 0, and the order of names says nothing.
function json(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? null));
}

const ran: Record<string, number> = { cel: 0, calendar: 0, form: 0, cases: 0, stops: 0, forms: 0, views: 0, actors: 0 };
const kinds = Object.fromEntries(Object.entries(MACHINE.kinds).map(([name, source]) => [name, compileKind(source)]));

const celKind = compileKind(CEL.kind);
const celEnv = envOf(CEL.env);
const celView = view(celKind, CEL.doc.key, CEL.doc.body);
function outcomeOf(rule: string, env: Env): Json {
  try {
    return { gives: json(run(celKind, rule, "doc", env, celView)) };
  } catch (error) {
    if (error instanceof RuleFailed) return { fails: error.code, why: error.why };
    if (error instanceof CelSyntax) return { syntax: error.what };
    throw error;
  }
}

test.each<Json>(CEL.cases)("the rule $rule", ({ rule, ...wanted }) => {
  ran.cel = (ran.cel ?? 0) + 1;
  expect(outcomeOf(rule, celEnv)).toEqual(wanted);
});

test.each<Json>(CALENDAR.cases)("$at: $rule", ({ at, rule, ...wanted }) => {
  ran.calendar = (ran.calendar ?? 0) + 1;
  expect(outcomeOf(rule, envOf({ ...CEL.env, calendar: null, ...CALENDAR.places[at] }))).toEqual(wanted);
});

test.each<Json>(FORM.values)("a field of type $field.type: $value", ({ field, value, wrong }) => {
  ran.form = (ran.form ?? 0) + 1;
  expect(json(wrongValue("f", field as Field, value))).toEqual(wrong);
});

test.each<Json>(MACHINE.cases)("$title", ({ kind, body, op, env, outcome }) => {
  ran.cases = (ran.cases ?? 0) + 1;
  const said = decode(new TextEncoder().encode(JSON.stringify(op)));
  const { outcome: name, ...rest } = judge(kinds[kind] as never, body as Body | null, said, envOf({ ...MACHINE.env, ...env })) as Json;
  const kept =
    name === "change" ? Object.fromEntries(Object.entries(rest).filter(([, v]) => v !== null && Object.keys(v as object).length)) : rest;
  expect(json({ [name]: kept })).toEqual(outcome);
});

test.each<Json>(MACHINE.stops)("$title", ({ kind, op, stop }) => {
  ran.stops = (ran.stops ?? 0) + 1;
  expect(isStop(kinds[kind] as never, decode(new TextEncoder().encode(JSON.stringify(op))))).toBe(stop);
});

test.each<Json>(MACHINE.forms)("$title", ({ kind, key, form, values, body, wrong }) => {
  ran.forms = (ran.forms ?? 0) + 1;
  const of = kinds[kind] as never;
  expect(json(validate(of, form, values, envOf(MACHINE.env), body ? view(of, key, body) : null))).toEqual(wrong);
});

test.each<Json>(MACHINE.views)("$title", (wanted) => {
  ran.views = (ran.views ?? 0) + 1;
  const kind = kinds[wanted.kind] as never;
  const env = envOf({ ...MACHINE.env, ...wanted.env });
  const seen: View = view(kind, wanted.key, wanted.body);
  expect(json(seen)).toEqual(wanted.view);
  expect(json(computed(kind, seen, env))).toEqual(wanted.computed);
  expect(placement(kind, seen, env)).toEqual(wanted.placement);
  expect([...opens(kind, seen, env)].sort()).toEqual(wanted.opens);
});

test.each<Json>(MACHINE.actors)("$title", (wanted) => {
  ran.actors = (ran.actors ?? 0) + 1;
  const found: Actor = actor(wanted.person, wanted.areas, wanted.roles);
  expect(found).toEqual(wanted.actor);
  for (const [cap, area, may] of wanted.may) expect(has(found, cap, area), `${cap} ${area}`).toBe(may);
});

test("as many were run here as in the other language", () => {
  expect(ran).toEqual(read("flow_counts"));
});

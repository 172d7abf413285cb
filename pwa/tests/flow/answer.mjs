// Answers tasks given as JSON lines on standard input, a line each, as the phone would. Started by tests/flow/test_flow_twins.py and test_walks.py.
import { createInterface } from "node:readline";
import { runnerImport } from "vite";

const load = async (name) => (await runnerImport(new URL(`../../src/${name}.ts`, import.meta.url).pathname, { configFile: false, logLevel: "error" })).module;
const [flow, celtext, form, { decode }] = [await load("flow/index"), await load("flow/celtext"), await load("flow/form"), await load("sync/op")];
const kinds = new Map();

// Each import has its own classes: an error is known by what it carries.
function failure(error) {
  if (typeof error.code === "string" && error.why !== undefined) return { fails: error.code, why: error.why };
  if (error.about !== undefined) return { syntax: error.what };
  throw error;
}

const answers = {
  kind: ({ name, source }) => {
    kinds.set(name, flow.compileKind(source));
    return null;
  },
  read: ({ rule, scope }) => {
    const { text, type, functions, caps } = celtext.read(rule, Object.fromEntries(Object.entries(scope).map(([root, names]) => [root, names && new Set(names)])));
    return { text, type, functions, caps };
  },
  run: ({ kind, rule, env, key, body }) => ({ gives: flow.run(kinds.get(kind), rule, "doc", env, flow.view(kinds.get(kind), key, body)) ?? null }),
  value: ({ field, value }) => form.wrongValue("f", field, value),
  judge: ({ kind, body, op, env }) => {
    const { outcome, ...rest } = flow.judge(kinds.get(kind), body, decode(new TextEncoder().encode(op)), env);
    return outcome === "change" ? { change: rest } : { [outcome]: rest };
  },
  seen: ({ kind, key, body, env }) => {
    const of = kinds.get(kind);
    const seen = flow.view(of, key, body);
    return { view: seen, computed: flow.computed(of, seen, env), placement: flow.placement(of, seen, env), opens: [...flow.opens(of, seen, env)].sort() };
  },
  actor: ({ person, areas, roles }) => flow.actor(person, areas, roles),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: what, ...task } = JSON.parse(line);
  let answer;
  try {
    answer = answers[what](task);
  } catch (error) {
    answer = failure(error);
  }
  console.log(JSON.stringify(answer));
}

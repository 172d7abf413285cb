// Kinds on the phone: forms and flows as data, and the small interpreter that runs them. Twin of backend/flow. Import it lazily: the CEL engine comes with it.
//
//   compileKind(source)                     a kind ready to run, from its wire form; kindSource(view) gives that of a `kind` document
//   judge(kind, body | null, op, env)       what an op does: {outcome: "change", …} | {outcome: "refused", code, params} | {outcome: "parked", …}
//   view(kind, key, body)                   a document as rules and screens see it; computed(kind, view, env) its computed fields
//   validate(kind, form, values, env, view) what is wrong with a form as filled in; form: "new" | "set:<name>" | "act:<name>"
//   shown(kind, form, field, values, env, view)   whether the form asks for the field
//   actor(person view, area views, plant.roles)   what a person may do where; has(actor, cap, area), anywhere(actor, cap)
//   usesOf(kind, op, body, get)             what goes into env.uses; get(key) gives card(kind, view) of a document here, or null
//   env: {actor, now, opId, uses, plant (view), calendar (view), rosters {views, parents}, limits {name: value}, unseenStops}
export { type Actor, actor, anywhere, descendants, has, nobody, SERVER } from "./actor";
export { Calendar, onDuty, type Rosters, type Shift } from "./calendar";
export { RuleFailed } from "./cel";
export { CelSyntax } from "./celtext";
export { isSealed, mediaOf, type Wrong } from "./form";
export {
  type CheckItem,
  type Checklist,
  CompiledKind,
  compileKind,
  type Field,
  type Fields,
  type Kind,
  kindSource,
  type State,
  type Transition,
} from "./kind";
export {
  type Change,
  card,
  computed,
  computedField,
  type Env,
  type FollowAct,
  isStop,
  judge,
  type Outcome,
  opens,
  type Parked,
  placement,
  type Refused,
  run,
  type Spawn,
  shown,
  type Tell,
  useKey,
  usesOf,
  type View,
  validate,
  view,
} from "./machine";

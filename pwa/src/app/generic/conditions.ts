// `show` and `check` of a field are rules in CEL. Their engine comes with the kinds, lazily: until it is here everything is shown and the
// data layer has the last word anyway.
import { shallowRef } from "vue";
import { refusal } from "../../i18n";
import type { FieldSpec } from "../kinds";
import type { View } from "../types";
import type { Values } from "./form";

type Evaluate = (text: string, names: Record<string, unknown>) => unknown;
const evaluate = shallowRef<Evaluate | null>(null);

export function setEvaluator(of: Evaluate): void {
  evaluate.value = of;
}

function run(text: string, values: Values, doc: View | undefined, value?: unknown): unknown {
  if (!evaluate.value) return true;
  try {
    return evaluate.value(text, { doc: { ...doc, ...values }, input: values, value: value ?? null });
  } catch {
    return true; // a rule that cannot be run here is judged where it can
  }
}

/** A field whose `show` says no is not asked. */
export const visible = (spec: FieldSpec, values: Values, doc: View | undefined): boolean =>
  !spec.show || run(spec.show, values, doc) === true;

/** Why a value does not do, by the field's own rules; empty when it does. */
export function wrongWith(spec: FieldSpec, values: Values, doc: View | undefined, name: string): string {
  for (const rule of spec.check ?? []) {
    if (values[name] === null || values[name] === undefined) return "";
    if (run(rule.rule, values, doc, values[name]) !== true) return refusal(rule.else).why;
  }
  return "";
}

// `show`, `check` and all else a kind says about its forms, run by the same machine that judges. It is loaded with the first form.
import type * as Flow from "../../flow";
import type { KindFile, View } from "../types";
import { useCore } from "../use";
import type { Values } from "./form";

export interface Conditions {
  /** whether the form asks for the field */
  visible(field: string, values: Values): boolean;
  /** what is wrong, by field; the first thing of each */
  wrong(values: Values): Map<string, { code: string; params: Record<string, unknown> }>;
}

/** The conditions of one form of a kind: `new` or `act:<transition>`. */
export async function conditions(kind: KindFile, form: string, doc: View | undefined): Promise<Conditions> {
  const flow = await import("../../flow");
  const core = useCore();
  const compiled = flow.compileKind(JSON.parse(JSON.stringify(kind)));
  const me = core.me.value;
  const env = (): Flow.Env => ({
    actor: { id: me?.id ?? "", roles: [], caps: me?.caps ?? {}, areas: [], server: false },
    now: core.now(),
    opId: "",
    uses: {},
    plant: core.list("plant").value[0]?.view ?? null,
    limits: {},
    unseenStops: false,
  });
  const view = (doc ?? null) as Flow.View | null;
  return {
    visible(field, values) {
      try {
        return flow.shown(compiled, form, field, values, env(), view);
      } catch {
        return true; // a rule that needs more than this screen has is judged where it is said
      }
    },
    wrong(values) {
      const found = new Map<string, { code: string; params: Record<string, unknown> }>();
      try {
        for (const wrong of flow.validate(compiled, form, values, env(), view)) {
          const [field = ""] = wrong.field.split(".");
          if (!found.has(field)) found.set(field, { code: wrong.code, params: wrong.params });
        }
      } catch {
        // likewise
      }
      return found;
    },
  };
}

// Sorts of machine, as the check lists call them: the list of a machine follows from its sort.
import { type Checklist, isCheck } from "../../app/kinds";
import type { Label } from "../../app/types";
import { useCore } from "../../app/use";
import { label, t } from "../../i18n";

/** Every sort that some check list names, and one for all the rest. */
export function machineTypes(): Record<string, Label> {
  const types: Record<string, Label> = {};
  for (const kind of useCore().kinds())
    if (isCheck(kind.kind)) Object.assign(types, (kind.checklist as Checklist | undefined)?.equipment_types ?? {});
  return { ...types, other: { zh: "其他设备", en: "Other equipment" } };
}

export const machineType = (type: unknown): string => label(machineTypes()[String(type)]) || t("machines.other");

// The desk's sections: which there are, and for whom.
import type { RouteLocationRaw } from "vue-router";
import type { Me } from "../app/types";
import type { IconName } from "../ui/icons";
import type { Word } from "./words";

export interface Section {
  name: Word;
  icon: IconName;
  to: RouteLocationRaw;
  /** one of these capabilities, anywhere; none named: whoever may use the desk */
  for?: string[];
}

/** Who may use the desk at all: whoever holds one of these somewhere. */
export const DESK = ["manage_people", "manage_equipment", "manage_plant", "supervise", "read_all"];

export const SECTIONS: Section[] = [
  { name: "people", icon: "people", to: "/desk/people" },
  { name: "areas", icon: "area", to: "/desk/areas" },
  { name: "machines", icon: "crane", to: "/desk/machines" },
  { name: "tags", icon: "label", to: "/desk/tags", for: ["manage_equipment"] },
  { name: "limits", icon: "limit", to: "/desk/limits" },
  { name: "checklists", icon: "tasks", to: "/desk/checklists" },
  { name: "roster", icon: "grid", to: "/desk/roster" },
  { name: "devices", icon: "phone", to: "/desk/devices", for: ["manage_people"] },
  { name: "ledger", icon: "list", to: "/desk/ledger", for: ["read_all"] },
  { name: "import", icon: "swap", to: "/desk/import", for: ["manage_people", "manage_equipment", "manage_plant", "supervise"] },
];

/** `Me.has` without an area: held on the whole plant. Here it counts where it is held anywhere. */
export const holds = (me: Me | null, caps: readonly string[]): boolean => caps.some((cap) => (me?.caps[cap]?.length ?? 0) > 0);

export const mine = (me: Me | null): Section[] => (holds(me, DESK) ? SECTIONS.filter((one) => !one.for || holds(me, one.for)) : []);

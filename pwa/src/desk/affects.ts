// What a limit affects: the items of check lists whose bound it is, and the rules that name it.
import { type Checklist, isCheck, itemsOf, part, setsOf, transitionsOf } from "../app/kinds";
import type { KindFile, Label, View } from "../app/types";
import { AWAY_LIMIT } from "../domains/equipment/away";

export interface Affected {
  kind: string;
  title: Label;
  /** the item, step or list in it; null: the form as a whole */
  what: Label | null;
  /** machines in use that this list is for; null where it is no check list */
  machines: number | null;
}

const ALL_CHECKS: Label = { zh: "全部检查", en: "Every check" };
const AWAY: Label = { zh: "离设备更远时作标记，不拒绝", en: "flagged where it was begun farther away, never refused" };

/** Each kind once, in its newest version. */
export function newest(kinds: KindFile[]): KindFile[] {
  const by = new Map<string, KindFile>();
  for (const kind of kinds) if ((by.get(kind.kind)?.version ?? 0) < kind.version) by.set(kind.kind, kind);
  return [...by.values()];
}

/** Machines in use for which this check list is made. */
export function machinesOf(kind: KindFile, machines: View[]): number {
  const types = (kind.checklist as Checklist | undefined)?.equipment_types ?? {};
  const has = (type: unknown): boolean => (Array.isArray(types) ? types.includes(String(type)) : String(type) in types);
  return machines.filter((one) => one.status !== "scrapped" && has(one.type)).length;
}

const names = (of: unknown, limit: string): boolean => {
  const text = JSON.stringify(of ?? null);
  return text.includes(`limit(\\"${limit}\\")`) || text.includes(`limit('${limit}')`);
};

/** `limit`: its name, such as `check.distance_m` or `check.<item>[.<case>].<min|max>`. */
export function affectedBy(limit: string, kinds: KindFile[], machines: View[]): Affected[] {
  const found: Affected[] = [];
  if (limit === AWAY_LIMIT)
    found.push({ kind: "check", title: ALL_CHECKS, what: AWAY, machines: machines.filter((one) => one.status !== "scrapped").length });
  for (const kind of newest(kinds)) {
    const count = isCheck(kind.kind) ? machinesOf(kind, machines) : null;
    const put = (what: Label | null): number => found.push({ kind: kind.kind, title: kind.title, what, machines: count });
    for (const item of itemsOf(kind)) if (limit.startsWith(`check.${item.id}.`) && /\.(?:min|max)$/.test(limit)) put(item.title);
    let inside = false;
    for (const [of, spec] of [...Object.entries(transitionsOf(kind)), ...Object.entries(setsOf(kind))])
      if (names(spec, limit)) {
        inside = true;
        put(spec.title ?? { zh: of, en: of });
      }
    if (!inside && ["new", "computed", "fields", "deadlines"].some((of) => names(part(kind, of), limit))) put(null);
  }
  return found;
}

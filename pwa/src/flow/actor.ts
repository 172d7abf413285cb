// What a person may do where. Pure. Twin of backend/flow/actor.py.
import { SERVER_AUTHOR } from "../sync/ids";
import { hasOwn } from "../sync/op";

/** Whoever speaks. `caps`: capability → `["*"]` or area ids, descendants included; `areas`: where any role is held. */
export interface Actor {
  id: string;
  roles: string[];
  caps: Record<string, string[]>;
  areas: string[];
  server: boolean;
}

/** The server's own device: it has everything. */
export const SERVER: Actor = { id: SERVER_AUTHOR, roles: [], caps: {}, areas: [], server: true };

/** Somebody without any right: unknown, or not active. */
export function nobody(person: string): Actor {
  return { id: person, roles: [], caps: {}, areas: [], server: false };
}

/** Whether the capability is held on this area; on the whole plant where `area` is null. */
export function has(actor: Actor, cap: string, area: string | null = null): boolean {
  const held = hasOwn(actor.caps, cap) ? (actor.caps[cap] ?? []) : [];
  return actor.server || held.includes("*") || (area !== null && held.includes(area));
}

/** Whether the capability is held on any area at all. */
export function anywhere(actor: Actor, cap: string): boolean {
  return actor.server || (hasOwn(actor.caps, cap) && (actor.caps[cap] ?? []).length > 0);
}

type Seen = Readonly<Record<string, unknown>>;
interface Held {
  role: string;
  area?: string | null;
}

/** What this person may do. `person` and `areas` are views; `roles` is the plant's table, role → capabilities. */
export function actor(person: Seen | null, areas: Iterable<Seen>, roles: Readonly<Record<string, readonly string[]>> | null): Actor {
  if (person === null) return nobody("");
  if (person.status !== "active") return nobody(person.id as string);
  const under = descendants(areas);
  const held = new Map<string, Set<string>>();
  const everywhere = new Set<string>();
  const entries = (person.roles ?? []) as Held[];
  for (const entry of entries) {
    const on = (entry.area ?? null) === null ? ["*"] : [...(under.get(entry.area as string) ?? [entry.area as string])];
    for (const area of on) everywhere.add(area);
    for (const cap of roles && hasOwn(roles, entry.role) ? (roles[entry.role] ?? []) : []) {
      const areasOf = held.get(cap) ?? new Set();
      for (const area of on) areasOf.add(area);
      held.set(cap, areasOf);
    }
  }
  return {
    id: person.id as string,
    roles: [...new Set(entries.map((entry) => entry.role))].sort(),
    caps: Object.fromEntries([...held].sort(([a], [b]) => (a < b ? -1 : 1)).map(([cap, on]) => [cap, short(on)])),
    areas: short(everywhere),
    server: false,
  };
}

/** Area → itself and all that lies under it. A circle among parents ends where it closes. */
export function descendants(areas: Iterable<Seen>): Map<string, Set<string>> {
  const parents = new Map<string, string | null>();
  for (const area of areas) parents.set(area.id as string, (area.parent as string | null | undefined) ?? null);
  const under = new Map<string, Set<string>>([...parents.keys()].map((area) => [area, new Set([area])]));
  for (const area of parents.keys()) {
    const seen = new Set([area]);
    let above = parents.get(area) ?? null;
    while (above !== null && !seen.has(above)) {
      seen.add(above);
      const all = under.get(above) ?? new Set([above]);
      all.add(area);
      under.set(above, all);
      above = parents.get(above) ?? null;
    }
  }
  return under;
}

function short(areas: Set<string>): string[] {
  return areas.has("*") ? ["*"] : [...areas].sort();
}

// Where labels come from: vector PDF by the server, so only with a network.
import { useCore } from "./use";

/** How many the server prints or makes at once. */
export const LABELS_MAX = 500;

export interface Place {
  dx?: number;
  dy?: number;
  skip?: number;
}

/** Address of the PDF with the labels of these machines (ids) or blank tags (codes), LABELS_MAX of them at most; a download carries no headers, so it names person and phone itself. */
export function labelsPath(of: { machines?: string[]; tags?: string[] }, size: string, place: Place = {}): string | null {
  const me = useCore().me.value;
  const [name, ids] = of.tags ? ["tags", of.tags] : ["machines", of.machines ?? []];
  if (!me?.has("manage_equipment") || ids.length === 0) return null;
  const asked = new URLSearchParams({ [name]: ids.join(","), size, person: me.id, device: String(me.device) });
  for (const [key, value] of Object.entries(place)) if (value) asked.set(key, String(value));
  return `/api/equipment/labels.pdf?${asked}`;
}

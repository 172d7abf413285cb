// Where labels come from: vector PDF by the server, so only with a network.
import { useCore } from "./use";

const LABELS_MAX = 500;

/** Address of the PDF with these machines' labels, a page each; a download carries no headers, so it names person and phone itself. */
export function labelsPath(machines: string[]): string | null {
  const me = useCore().me.value;
  if (!me?.has("manage_equipment") || machines.length === 0) return null;
  return `/api/equipment/labels.pdf?${new URLSearchParams({ machines: machines.slice(0, LABELS_MAX).join(","), person: me.id, device: String(me.device) })}`;
}

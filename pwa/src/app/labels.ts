// Where label sheets come from: vector PDF by the server, so only with a network.

/** Address of the labels of one document, or null where this kind has none. */
export function labelsPath(kind: string, id: string | undefined): string | null {
  if (!id) return null;
  if (kind === "machine") return `/api/equipment/labels?machine=${encodeURIComponent(id)}`;
  return null;
}

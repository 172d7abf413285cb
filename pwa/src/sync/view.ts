// A document as screens see it while its kind is not here yet: plain values, sets as lists in the order of their clocks.
import type { View } from "../app/types";
import type { Standing } from "./replay";

export function basicView(key: string, { body }: Standing): View {
  const cut = key.indexOf("/");
  const view: View = { id: key.slice(cut + 1), key, kind: key.slice(0, cut), version: body.version, status: body.status };
  for (const [name, [value]] of Object.entries(body.fields)) view[name] = value;
  for (const [name, items] of Object.entries(body.sets)) {
    view[name] = Object.entries(items)
      .sort(([a, [, e, d]], [b, [, f, g]]) => e - f || d - g || (a < b ? -1 : 1))
      .map(([id, [item]]) => ({ ...(item as object), id }));
  }
  return view;
}

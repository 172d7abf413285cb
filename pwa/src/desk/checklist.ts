// A check list's items as the desk changes them: what is wrong with them, what became of each, and the parts in which they are said.
import type { CheckItem } from "../app/kinds";
import type { Label } from "../app/types";
import type { Word } from "./words";

const HAN = /[\u3400-\u9fff]/;
/** An op's value holds 16 KB: the items' text is said in two parts. */
const PART_BYTES_MAX = 14_000;
export const ITEMS_MAX = 60;

export const copyOf = (items: CheckItem[]): CheckItem[] => JSON.parse(JSON.stringify(items)) as CheckItem[];

/** A new line of the plant's own: good practice until the plant names a clause. */
export function newItem(list: string, type: "yes_no" | "number", random: string): CheckItem {
  const blank: Label = { zh: "", en: "" };
  const item = {
    id: `${list}.own_${random}`,
    title: { ...blank },
    type,
    critical: false,
    photo_on_fail: true,
    hint: { ...blank },
    pictogram: "other",
    dwell_s: 2,
    law: null,
    law_scope: "none",
    sure: "C",
  };
  return (type === "number" ? { ...item, unit: "", min: null, max: null } : item) as CheckItem;
}

export interface Wrong {
  item: string;
  what: Word;
}

/** What stands in the way of proposing these items. */
export function wrongIn(items: CheckItem[]): Wrong[] {
  const found: Wrong[] = [];
  for (const item of items) {
    const say = (what: Word): number => found.push({ item: item.id, what });
    if (!HAN.test(item.title.zh)) say("item_zh_first");
    if (!item.title.en.trim() || HAN.test(item.title.en)) say("item_en_first");
    if (!item.hint || !HAN.test(item.hint.zh) || !item.hint.en.trim() || HAN.test(item.hint.en)) say("item_hint_first");
    if (item.type === "number" && !item.unit?.trim()) say("item_unit_first");
    if (item.type === "number" && typeof item.min === "number" && typeof item.max === "number" && item.min > item.max)
      say("item_bounds_crossed");
  }
  return found;
}

export interface Change {
  item: CheckItem;
  how: "added" | "dropped" | "changed" | "moved";
  /** of a changed item: it was critical and is not any more, or must no longer be photographed, or its bounds are other ones */
  parts: Word[];
}

/** What the items would become, compared with what they are: what is dropped or made weaker stands first, since it is what the second person must see. */
export function changesOf(before: CheckItem[], after: CheckItem[]): Change[] {
  const old = new Map(before.map((item) => [item.id, item]));
  const kept = after.filter((item) => old.has(item.id)).map((item) => item.id);
  const order = before.map((item) => item.id).filter((id) => kept.includes(id));
  const found: Change[] = before
    .filter((item) => !after.some((one) => one.id === item.id))
    .map((item) => ({ item, how: "dropped", parts: [] }));
  for (const item of after) {
    const was = old.get(item.id);
    if (!was) found.push({ item, how: "added", parts: [] });
    else {
      const parts = partsOf(was, item);
      if (parts.length) found.push({ item, how: "changed", parts });
      else if (order.indexOf(item.id) !== kept.indexOf(item.id)) found.push({ item, how: "moved", parts: [] });
    }
  }
  const weight: Record<Change["how"], number> = { dropped: 0, changed: 1, added: 2, moved: 3 };
  return found.sort((a, b) => weight[a.how] - weight[b.how]);
}

function partsOf(was: CheckItem, item: CheckItem): Word[] {
  const parts: Word[] = [];
  if (was.critical && !item.critical) parts.push("part_not_critical");
  if (!was.critical && item.critical) parts.push("part_critical");
  if (was.photo_on_fail && !item.photo_on_fail) parts.push("part_no_photo");
  if (!was.photo_on_fail && item.photo_on_fail) parts.push("part_photo");
  if ((was.min ?? null) !== (item.min ?? null) || (was.max ?? null) !== (item.max ?? null)) parts.push("part_bounds");
  if (JSON.stringify(was.title) !== JSON.stringify(item.title) || JSON.stringify(was.hint) !== JSON.stringify(item.hint))
    parts.push("part_words");
  return parts;
}

/** The items as `items` and `items_2` of a proposal; null where they are too long for them. */
export function said(items: CheckItem[]): { items: string; items_2?: string } | null {
  const text = JSON.stringify(items);
  const bytes = new TextEncoder();
  const size = (part: string): number => bytes.encode(JSON.stringify(part)).length;
  let cut = text.length;
  while (size(text.slice(0, cut)) > PART_BYTES_MAX) cut = Math.floor((cut * PART_BYTES_MAX) / size(text.slice(0, cut)));
  const rest = text.slice(cut);
  if (size(rest) > PART_BYTES_MAX) return null;
  return rest ? { items: text.slice(0, cut), items_2: rest } : { items: text };
}

/** The items of a proposal; none where they cannot be read. */
export function proposed(view: Record<string, unknown> | undefined): CheckItem[] {
  try {
    const items = JSON.parse(`${view?.items ?? ""}${view?.items_2 ?? ""}`) as unknown;
    return Array.isArray(items) ? (items as CheckItem[]) : [];
  } catch {
    return [];
  }
}

// Lists in order, and what of them is looked for. A short list is put in order at once. Of thousands that would hold the screen for seconds on a slow phone:
// there each document is looked at once, a little at a time, and what was found out is kept while the person is here.
import { type ComputedRef, computed, onScopeDispose, type Ref, shallowRef, watch } from "vue";
import { lang } from "../i18n";
import { frame, Slices, sortInSlices } from "./slices";
import type { Doc, Me } from "./types";
import { useCore } from "./use";

export interface Order<R> {
  rank(doc: Doc): R;
  compare(a: R, b: R): number;
  /** what it is found by, in lower case */
  words?(doc: Doc): string;
}

interface Entry<R> {
  doc: Doc;
  rank: R;
  words: string;
}

export type Match = (doc: Doc, words: string) => boolean;

const AT_ONCE_MAX = 500;
/** Of this many that are new or changed the rest's order is worth keeping. */
const NEW_MAX = 500;

/** Per person who is here, so that nothing of it outlives a lock. */
const kept = new WeakMap<Me, Map<string, Entry<unknown>[]>>();

/**
 * `source` in order, of it what `match` lets through. `ready` is false while a long list is put in order for the first time. `name` says which list it is,
 * so that coming back to it finds it in order.
 */
export function useOrdered<R>(
  name: string,
  source: Ref<readonly Doc[]>,
  order: Order<R>,
  match: () => Match | null,
): { shown: ComputedRef<Doc[]>; ready: ComputedRef<boolean> } {
  const core = useCore();
  const { rank, compare, words } = order;
  const enter = (doc: Doc): Entry<R> => ({ doc, rank: rank(doc), words: words?.(doc) ?? "" });
  const byRank = (a: Entry<R>, b: Entry<R>): number => compare(a.rank, b.rank);
  const known = (): Map<string, Entry<unknown>[]> | undefined => {
    const me = core.me.value;
    if (!me) return undefined;
    if (!kept.has(me)) kept.set(me, new Map());
    return kept.get(me);
  };
  const place = (): string => `${name} ${lang.value}`;

  const long = shallowRef<Entry<R>[] | null>((known()?.get(place()) as Entry<R>[] | undefined) ?? null);
  let turn = 0;

  async function put(docs: readonly Doc[]): Promise<void> {
    const mine = ++turn;
    const alive = (): boolean => mine === turn;
    const slices = new Slices();
    await slices.pause();
    if (!alive()) return;
    const before = new Map((long.value ?? []).map((entry) => [entry.doc.key, entry]));
    const fresh: Entry<R>[] = [];
    const stay = new Set<Entry<R>>();
    for (const doc of docs) {
      const entry = before.get(doc.key);
      if (entry?.doc === doc) stay.add(entry);
      else fresh.push(enter(doc));
      if (slices.over()) await slices.pause();
      if (!alive()) return;
    }
    const rest = (long.value ?? []).filter((entry) => stay.has(entry));
    // Few among many in order: a sort that knows ordered runs is one pass.
    const done =
      fresh.length <= NEW_MAX ? [...rest, ...fresh].sort(byRank) : await sortInSlices([...rest, ...fresh], byRank, slices, alive);
    await frame();
    if (!done || !alive()) return;
    long.value = done;
    known()?.set(place(), done);
  }

  const wanted = computed(match);
  const found = shallowRef<Doc[] | null>(null);
  let sifting = 0;

  /** Of a long list, what is looked for: while it is gone through, what was found before stays on screen. */
  async function sift(entries: readonly Entry<R>[], want: Match | null): Promise<void> {
    const mine = ++sifting;
    if (!want) {
      found.value = entries.map(({ doc }) => doc);
      return;
    }
    const slices = new Slices();
    const through: Doc[] = [];
    // The letter that was typed shows first.
    await slices.pause();
    for (const { doc, words: of } of entries) {
      if (want(doc, of)) through.push(doc);
      if (slices.over()) await slices.pause();
      if (mine !== sifting) return;
    }
    await frame();
    if (mine === sifting) found.value = through;
  }

  watch(
    [source, lang],
    ([docs, now], [, was]) => {
      turn++;
      if (was !== undefined && now !== was) long.value = null;
      if (docs.length > AT_ONCE_MAX) void put(docs);
      else long.value = null;
    },
    { immediate: true },
  );
  watch(
    [long, wanted],
    ([entries, want]) => {
      sifting++;
      if (entries) void sift(entries, want);
      else found.value = null;
    },
    { immediate: true },
  );
  onScopeDispose(() => {
    turn++;
    sifting++;
  });

  const isLong = (): boolean => source.value.length > AT_ONCE_MAX;
  const few = computed<Entry<R>[]>(() => (isLong() ? [] : source.value.map(enter).sort(byRank)));
  const shown = computed<Doc[]>(() => {
    if (isLong()) return found.value ?? [];
    const want = wanted.value;
    return few.value.flatMap(({ doc, words: of }) => (!want || want(doc, of) ? [doc] : []));
  });
  return { shown, ready: computed(() => !isLong() || found.value !== null) };
}

const collator = new Intl.Collator("zh-CN", { numeric: true });
/** Names as people read them. One collator for all: `localeCompare` makes one for every comparison. */
export const byName = (a: string, b: string): number => collator.compare(a, b);

const ASCII = /^[\x20-\x7e]*$/;
const DIGITS_MAX = 15;

/** Numbers and codes by their figures ("SB-9" before "SB-10"), before names in Chinese, which go by their reading. */
export const byText = {
  rank: (text: string): string =>
    ASCII.test(text) ? `0${text.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(DIGITS_MAX, "0"))}` : `1${text}`,
  compare: (a: string, b: string): number => {
    if (a.startsWith("1") && b.startsWith("1")) return byName(a, b);
    return a < b ? -1 : a > b ? 1 : 0;
  },
};

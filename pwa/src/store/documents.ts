// The open person's documents in memory, decrypted, for screens. Reactive by document and by kind, never deeply: a change of one document among 10,000
// wakes the screens that show it and the lists of its kind, once a page.
import { type ComputedRef, computed, type ShallowRef, shallowRef, triggerRef } from "vue";
import type { Doc, View } from "../app/types";
import type { Standing } from "../sync/replay";

export interface Shown extends Standing {
  pending: boolean;
  troubled: boolean;
}

const NONE: ReadonlySet<string> = new Set();

export class Documents {
  private readonly shown = new Map<string, Doc>();
  private readonly byKind = new Map<string, Set<string>>();
  private readonly kindTicks = new Map<string, ShallowRef<number>>();
  private readonly docTicks = new Map<string, ShallowRef<number>>();
  /** kinds whose lists have not been woken yet */
  private readonly asleep = new Set<string>();

  constructor(
    private readonly find: (key: string) => Shown | undefined,
    private readonly view: (key: string, standing: Standing) => View,
  ) {}

  /** Now, without being woken later; inside a computed it wakes with the document's kind. */
  get(key: string): Doc | undefined {
    void this.kindTick(kindOf(key)).value;
    return this.peek(key);
  }

  peek(key: string): Doc | undefined {
    const known = this.shown.get(key);
    if (known) return known;
    const found = this.find(key);
    if (!found) return undefined;
    const { seq, pending, troubled } = found;
    const doc: Doc = { key, seq, pending, troubled, view: this.view(key, found) };
    this.shown.set(key, doc);
    return doc;
  }

  doc(key: string | (() => string | null)): ComputedRef<Doc | undefined> {
    return computed(() => {
      const now = typeof key === "string" ? key : key();
      if (!now) return undefined;
      let tick = this.docTicks.get(now);
      if (!tick) {
        tick = shallowRef(0);
        this.docTicks.set(now, tick);
      }
      void tick.value;
      return this.peek(now);
    });
  }

  list(kind: string, where?: (doc: Doc) => boolean): ComputedRef<Doc[]> {
    return computed(() => {
      void this.kindTick(kind).value;
      const found: Doc[] = [];
      for (const key of this.keys(kind)) {
        const doc = this.peek(key);
        if (doc && (!where || where(doc))) found.push(doc);
      }
      return found;
    });
  }

  keys(kind: string): ReadonlySet<string> {
    return this.byKind.get(kind) ?? NONE;
  }

  /** Inside a computed: to be woken whenever a document of this kind changes, comes or goes. */
  watch(kind: string): void {
    void this.kindTick(kind).value;
  }

  /** These documents changed, came or went. Lists are woken at once, or by `wake` where more is about to come: a list of thousands is made once. */
  changed(keys: Iterable<string>, wake = true): void {
    for (const key of keys) {
      const kind = kindOf(key);
      this.asleep.add(kind);
      this.shown.delete(key);
      let of = this.byKind.get(kind);
      if (!of) {
        of = new Set();
        this.byKind.set(kind, of);
      }
      if (this.find(key)) of.add(key);
      else of.delete(key);
      const tick = this.docTicks.get(key);
      if (tick) tick.value++;
    }
    if (wake) this.wake();
  }

  wake(): void {
    const kinds = [...this.asleep];
    this.asleep.clear();
    for (const kind of kinds) this.kindTick(kind).value++;
  }

  /** A kind can be read now, or differently: everything of it is seen anew. */
  kindChanged(kind: string): void {
    this.changed([...this.keys(kind)]);
  }

  clear(): void {
    this.shown.clear();
    this.byKind.clear();
    this.asleep.clear();
    for (const tick of this.docTicks.values()) triggerRef(tick);
    for (const tick of this.kindTicks.values()) tick.value++;
  }

  private kindTick(kind: string): ShallowRef<number> {
    let tick = this.kindTicks.get(kind);
    if (!tick) {
      tick = shallowRef(0);
      this.kindTicks.set(kind, tick);
    }
    return tick;
  }
}

function kindOf(key: string): string {
  return key.slice(0, key.indexOf("/"));
}

// The kinds on this phone: reads them from their documents, gathers what a rule may see from what this person holds, and asks the machine. Loaded when a
// space is opened, so that neither the machine nor its language weighs on the first screen.
import type { Answer, KindFile, View } from "../app/types";
import type { Op } from "./op";
import type { Saying } from "./outbox";
import type { Rules, Standing } from "./replay";
import { basicView } from "./view";

export interface Situation {
  author: string;
  device: number;
  at: number;
  online: boolean;
  /** the phone's clock ran backwards since the last contact */
  unsure: boolean;
}

type Get = (key: string) => Standing | undefined;

export interface Flow extends Rules {
  view(key: string, standing: Standing): View;
  /** what the phone's machine says to this now; a step that needs the server is refused without a network */
  may(saying: Saying, situation: Situation, get: Get): Answer;
  caps(person: string, get: Get, areas: Iterable<string>): Record<string, string[]> | undefined;
  /** names of the values to seal in what is said */
  personal(kind: string, version: number, verb: Op["verb"], name?: string): string[];
  /** these documents changed */
  observe(keys: readonly string[], get: Get): void;
  /** kinds that read differently since the last call */
  news(): string[];
  kind(name: string, version?: number): KindFile | undefined;
  kinds(): KindFile[];
  forget(): void;
}

type Spec = { personal?: boolean };
type Forms = KindFile & {
  fields?: Record<string, Spec>;
  sets?: Record<string, { fields: Record<string, Spec> }>;
  transitions?: Record<string, { input?: Record<string, Spec> }>;
};

export function createFlow(): Flow {
  const versions = new Map<string, Map<number, KindFile>>();
  const byDoc = new Map<string, string>();
  let changed = new Set<string>();

  const newest = (name: string): KindFile | undefined => {
    const known = versions.get(name);
    return known?.get(Math.max(...known.keys()));
  };
  const find = (name: string, version?: number): KindFile | undefined =>
    version === undefined ? newest(name) : versions.get(name)?.get(version);

  return {
    judge: () => ({ parked: "op.awaits_kind", params: {} }),
    view: basicView,
    may: () => ({ ok: true }),
    caps: () => undefined,
    personal(kind, version, verb, name) {
      const file = find(kind, version) as Forms | undefined;
      const fields =
        verb === "add" ? file?.sets?.[name ?? ""]?.fields : verb === "act" ? file?.transitions?.[name ?? ""]?.input : file?.fields;
      return Object.entries(fields ?? {}).flatMap(([field, spec]) => (spec.personal ? [field] : []));
    },
    observe(keys, get) {
      for (const key of keys) {
        if (!key.startsWith("kind/")) continue;
        const body = get(key)?.body;
        const source = body && sourceOf(body.fields);
        if (!source) continue;
        const file = JSON.parse(source) as KindFile;
        byDoc.set(key, file.kind);
        const known = versions.get(file.kind) ?? new Map<number, KindFile>();
        versions.set(file.kind, known.set(file.version, file));
        changed.add(file.kind);
      }
    },
    news() {
      const found = [...changed];
      changed = new Set();
      return found;
    },
    kind: find,
    kinds: () => [...versions.keys()].flatMap((name) => newest(name) ?? []),
    forget() {
      versions.clear();
      byDoc.clear();
      changed.clear();
    },
  };
}

/** A long kind file lies in several fields. */
function sourceOf(fields: Record<string, [unknown, number, number]>): string {
  let text = "";
  for (const name of ["source", ...Array.from({ length: 7 }, (_, i) => `source_${i + 2}`)])
    text += (fields[name]?.[0] as string | undefined) ?? "";
  return text;
}

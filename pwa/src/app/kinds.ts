// The parts of a kind file that screens read. Its spelling is that of the kind files; what is absent is absent.
import { label, t } from "../i18n";
import type { LevelName } from "../ui/icons";
import type { KindFile, Label } from "./types";
import { useCore } from "./use";

export interface Rule {
  rule: string;
  else: string;
  params?: Record<string, string>;
}

export interface FieldSpec {
  type: string;
  title?: Label;
  help?: Label;
  required?: boolean;
  /** of a choice its ids with their titles, in order; of a ref the kind it points to, `*` for any */
  of?: string | Record<string, Label>;
  show?: string;
  check?: Rule[];
  default?: unknown;
  unit?: string;
  min?: number | null;
  max?: number | null;
  step?: number;
  limits?: { above?: number; below?: number; level?: string }[];
  only_by?: string[];
  columns?: Record<string, FieldSpec>;
  item?: FieldSpec;
  /** of a section: which fields stand under it */
  fields?: string[];
}

export interface Law {
  id: string;
  clause?: string;
  sure?: string;
}

export interface CheckItem {
  id: string;
  title: Label;
  type: "yes_no" | "number" | "choice";
  critical?: boolean;
  /** May be answered "not applicable"; yes where nothing is said. */
  na_allowed?: boolean;
  photo_on_fail?: boolean;
  hint?: Label;
  pictogram?: string;
  dwell_s?: number;
  law?: Law | null;
  law_scope?: string;
  sure?: string;
  limit_sure?: string | null;
  unit?: string | null;
  min?: number | null;
  max?: number | null;
  /** what a choice may be; `ok`: it is normal */
  options?: { value: string; title: Label; ok: boolean }[];
  /** cases in which a number has other bounds */
  conditions?: { id: string; title: Label; min: number | null; max: number | null }[];
  /** the figure is a placeholder until the plant's own stands in a limit */
  plant_sets_limit?: boolean;
}

export interface Checklist {
  equipment_types: Record<string, Label> | string[];
  modes: string[];
  shuffle?: boolean;
  random_proof_photo_ratio?: number;
}

export interface TransitionSpec {
  title?: Label;
  help?: Label;
  from?: string[] | "*";
  input?: Record<string, FieldSpec>;
  set?: Record<string, string>;
  server?: boolean;
  stop?: boolean;
  tone?: "primary" | "plain" | "danger";
  offline?: "no" | "claim" | "grant";
}

export interface StateSpec {
  title: Label;
  start?: boolean;
  end?: boolean;
  level?: "normal" | "blue" | "yellow" | "orange" | "red" | "quiet";
}

export const isCheck = (kind: string): boolean => kind.startsWith("check.");
export const part = <T>(kind: KindFile | undefined, name: string): T => (kind?.[name] as T | undefined) ?? ({} as T);
export const fieldsOf = (kind: KindFile | undefined): Record<string, FieldSpec> => part(kind, "fields");
export const setsOf = (kind: KindFile | undefined): Record<string, { title?: Label; fields: Record<string, FieldSpec> }> =>
  part(kind, "sets");
export const transitionsOf = (kind: KindFile | undefined): Record<string, TransitionSpec> => part(kind, "transitions");
export const statesOf = (kind: KindFile | undefined): Record<string, StateSpec> => part(kind, "states");
export const itemsOf = (kind: KindFile | undefined): CheckItem[] => (Array.isArray(kind?.items) ? (kind.items as CheckItem[]) : []);
export const sourcesOf = (kind: KindFile | undefined): Record<string, Label> => part(kind, "sources");

export function statusTitle(kind: KindFile | undefined, status: string): string {
  return label(statesOf(kind)[status]?.title) || t("doc.state_unnamed");
}

/** The colour of a state's tag: its level's, green for what is normal, none for what is quiet. */
export function statusTone(kind: KindFile | undefined, status: string): "ok" | "blue" | "yellow" | "orange" | "red" | undefined {
  const level = statesOf(kind)[status]?.level;
  return level === "normal" ? "ok" : level === "quiet" ? undefined : level;
}

/** The state a document of this kind begins in, and whether one of its states is an end. */
export const isOpen = (kind: KindFile | undefined, status: string): boolean => statesOf(kind)[status]?.end !== true;

export function kindTitle(name: string): string {
  return label(useCore().kind(name)?.title) || t("doc.kind_unknown");
}

const LEVELS: LevelName[] = ["red", "orange", "yellow", "blue"];
export const levelOf = (grade: unknown): LevelName => (LEVELS.includes(grade as LevelName) ? (grade as LevelName) : "blue");

/** The word of a hazard's grade. One that nobody has graded yet says so: it is not "minor". */
export const gradeWord = (grade: unknown): string => t(LEVELS.includes(grade as LevelName) ? `grade.${grade as "red"}` : "grade.none");

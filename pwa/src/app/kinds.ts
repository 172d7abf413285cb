// The parts of a kind file that screens read. Its spelling is that of the kind files; what is absent is absent.
import { label, t } from "../i18n";
import type { LevelName } from "../ui/icons";
import type { KindFile, Label } from "./types";
import { useCore } from "./use";

export interface FieldSpec {
  type: string;
  title?: Label;
  of?: string | Record<string, unknown> | unknown[];
  required?: boolean | string;
  show?: string;
  check?: string;
  default?: unknown;
  help?: Label;
  unit?: string;
  min?: number | null;
  max?: number | null;
  step?: number;
  limits?: { at?: number; level?: string; above?: number; below?: number }[];
  only_by?: string[];
  fields?: Record<string, FieldSpec>;
  [part: string]: unknown;
}

export interface Law {
  id: string;
  clause?: string;
  sure?: string;
}

export interface CheckItem {
  id: string;
  zh: string;
  en: string;
  type: "yes_no" | "number" | "choice";
  critical?: boolean;
  photo_on_fail?: boolean;
  hint?: Label;
  pictogram?: string;
  dwell_s?: number;
  law?: Law | null;
  law_scope?: string;
  sure?: string;
  limit_sure?: string;
  unit?: string;
  min?: number | null;
  max?: number | null;
  options?: { id: string; zh: string; en: string; ok?: boolean }[];
}

export interface TransitionSpec {
  title?: Label;
  from?: string[] | string;
  to?: string;
  input?: Record<string, FieldSpec>;
  offline?: string | boolean;
  stop?: boolean;
  icon?: string;
  [part: string]: unknown;
}

type Named = Record<string, { title?: Label; level?: string; [part: string]: unknown }>;

export const isCheck = (kind: string): boolean => kind.startsWith("check.");
export const part = <T>(kind: KindFile | undefined, name: string): T => ((kind?.[name] as T | undefined) ?? ({} as T));
export const fieldsOf = (kind: KindFile | undefined): Record<string, FieldSpec> => part(kind, "fields");
export const setsOf = (kind: KindFile | undefined): Record<string, { title?: Label; fields: Record<string, FieldSpec> }> => part(kind, "sets");
export const transitionsOf = (kind: KindFile | undefined): Record<string, TransitionSpec> => part(kind, "transitions");
export const itemsOf = (kind: KindFile | undefined): CheckItem[] => (Array.isArray(kind?.items) ? (kind.items as CheckItem[]) : []);

export function statusTitle(kind: KindFile | undefined, status: string): string {
  return label(part<Named>(kind, "states")[status]?.title) || t("doc.state_unnamed");
}

export function kindTitle(name: string): string {
  return label(useCore().kind(name)?.title) || t("doc.kind_unknown");
}

const LEVELS: LevelName[] = ["red", "orange", "yellow", "blue"];
export const levelOf = (grade: unknown): LevelName => (LEVELS.includes(grade as LevelName) ? (grade as LevelName) : "blue");

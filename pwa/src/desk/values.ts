// A field's value in one line of a history: what the generic screens count ("2 rows") is written out here.
import { show } from "../app/generic/show";
import { type FieldSpec, isCheck, itemsOf } from "../app/kinds";
import type { KindFile, Label } from "../app/types";
import { machineType } from "../domains/equipment/types";
import { label, t } from "../i18n";
import { d } from "./words";

const TEXT_CHARS_MAX = 400;
const MINUTE_MS = 60_000;

export interface Shift {
  key: string;
  name: Label;
}

/** The name of what stands in the ledger by its code: a sort of machine, a roster's shift, a check's item, case or choice. Null: it is no such code. */
export function codeName(kind: KindFile | undefined, field: string, value: unknown, shifts: readonly Shift[]): string | null {
  if (!kind || typeof value !== "string") return null;
  if (kind.kind === "machine" && field === "type") return machineType(value);
  if (kind.kind === "roster" && field === "shift") return label(shifts.find((one) => one.key === value)?.name) || null;
  if (!isCheck(kind.kind)) return null;
  const items = itemsOf(kind);
  if (field === "item") return label(items.find((one) => one.id === value)?.title) || null;
  if (field === "choice") return label(items.flatMap((one) => one.options ?? []).find((one) => one.value === value)?.title) || null;
  if (field === "condition") return label(items.flatMap((one) => one.conditions ?? []).find((one) => one.id === value)?.title) || null;
  return null;
}

interface Position {
  lat: number;
  lon: number;
  radius_m?: number;
}

export function valueText(spec: FieldSpec | undefined, value: unknown, now: number): string {
  if (value === null || value === undefined) return "";
  if (spec?.type === "table" && Array.isArray(value))
    return value.map((row) => rowText(spec, row as Record<string, unknown>, now)).join(t("list.comma"));
  if (spec?.type === "map" && "lat" in (value as object)) {
    const { lat, lon, radius_m } = value as Position;
    return [`${lat}, ${lon}`, radius_m ? `${radius_m} m` : ""].filter(Boolean).join(" · ");
  }
  if (spec?.type === "duration" && Number(value) < MINUTE_MS) return d("seconds", { n: Math.round(Number(value) / 1_000) });
  const text = show(spec, value, now);
  return text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX)}…` : text;
}

/** "安全员（全厂）": a role without an area is held on the whole plant. */
function rowText(spec: FieldSpec, row: Record<string, unknown>, now: number): string {
  const columns = Object.entries(spec.columns ?? {});
  return columns
    .map(([name, inner]) => show(inner, row[name], now) || (name === "area" && "role" in (spec.columns ?? {}) ? d("whole_plant") : ""))
    .filter(Boolean)
    .join(" · ");
}

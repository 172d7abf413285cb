// A field's value in one line of a history: what the generic screens count ("2 rows") is written out here.
import { show } from "../app/generic/show";
import type { FieldSpec } from "../app/kinds";
import { t } from "../i18n";
import { d } from "./words";

const TEXT_CHARS_MAX = 400;

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

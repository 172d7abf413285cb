// Any field's value as words. What has no words is left out, never shown as code.
import { label, t, when } from "../../i18n";
import { type FieldSpec, isCheck, kindTitle } from "../kinds";
import { refName } from "../names";
import { typed } from "../../scan/code";
import type { Label, MediaValue, Place } from "../types";

export interface Choice {
  value: string;
  text: string;
}

/** The choices of a field, in the kind's order. */
export function choicesOf(spec: FieldSpec): Choice[] {
  if (!spec.of || typeof spec.of === "string") return [];
  return Object.entries(spec.of).map(([value, told]) => ({ value, text: label(told) || t("choice.unnamed") }));
}

export const fieldTitle = (name: string, spec: FieldSpec | undefined): string =>
  label(spec?.title) || t("form.field_unnamed", { name: name.replaceAll("_", " ") });

export function show(spec: FieldSpec | undefined, value: unknown, now: number): string {
  if (value === null || value === undefined || value === "") return "";
  const type = spec?.type ?? typeof value;
  switch (type) {
    case "choice":
      return choicesOf(spec as FieldSpec).find((one) => one.value === value)?.text ?? t("choice.unnamed");
    case "choices":
      return (value as string[])
        .map((one) => choicesOf(spec as FieldSpec).find((choice) => choice.value === one)?.text ?? t("choice.unnamed"))
        .join(t("list.comma"));
    case "ref":
      return refName(String(spec?.of ?? "*"), value);
    case "refs":
      return (value as string[]).map((one) => refName(String(spec?.of ?? ""), one)).join(t("list.comma"));
    case "yes_no":
    case "boolean":
      return t(value ? "yes" : "no");
    case "time":
      return when(Number(value), now);
    case "date":
      return typeof value === "number" ? when(value, now).replace(/ \d\d:\d\d$/, "") : String(value);
    case "duration":
      return durationText(Number(value));
    case "number":
      if (spec?.unit === "min" && (spec.max ?? 0) >= DAY_MIN - 1 && (spec.max ?? 0) <= DAY_MIN) return minuteOfDay(Number(value));
      return [String(value), spec?.unit === "turn" ? t("unit.turn") : spec?.unit].filter(Boolean).join(" ");
    case "place": {
      const place = value as Place;
      return t(place.rounded ? "place.rounded" : place.source === "tag" ? "place.by_tag" : "place.by_gps", {
        m: Math.round(place.accuracy_m ?? 0),
        at: place.at ? when(place.at, now) : "",
      });
    }
    case "media":
      return t("photo.count", { n: 1 });
    case "list":
      if (spec?.item?.type === "media") return t("photo.count", { n: (value as unknown[]).length });
      return (value as unknown[])
        .map((one) => show(spec?.item, one, now))
        .filter(Boolean)
        .join(t("list.comma"));
    case "map":
      return t("table.rows", { n: Object.keys(value as object).length });
    case "scan":
      return /^[0-9A-Z]{8}$/.test(String(value)) ? typed(String(value)) : String(value);
    case "signature":
      return t("sign.given");
    case "table":
      return t("table.rows", { n: Array.isArray(value) ? value.length : 0 });
    default:
      if (Array.isArray(value))
        return value
          .map((one) => show(spec?.item, one, now))
          .filter(Boolean)
          .join(t("list.comma"));
      if (typeof value === "object") return label(value as Label);
      // A check list is named by its kind: what people see is the kind's title.
      if (isCheck(String(value))) return kindTitle(String(value));
      return String(value);
  }
}

const DAY_MIN = 1_440;

/** 480 → "08:00" */
function minuteOfDay(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
}

/** Durations are ms, shown to the minute. */
export function durationText(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  const h = Math.floor(minutes / 60);
  const m = minutes % 60;
  return [h ? t("span.hours", { n: h }) : "", m || !h ? t("span.minutes", { n: m }) : ""].filter(Boolean).join(" ");
}

export function mediaOf(value: unknown): MediaValue[] {
  return (Array.isArray(value) ? value : [value]).filter((one): one is MediaValue =>
    Boolean(one && typeof one === "object" && "sha256" in one),
  );
}

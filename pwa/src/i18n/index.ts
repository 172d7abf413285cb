// Our own small translator: Chinese in the first chunk, English and the refusals' sentences loaded when they are needed.
// A text with " | " has two forms, chosen by `n`: "one thing | {n} things".
import { ref, shallowRef } from "vue";
import type { KindFile, Label, Lang } from "../app/types";
import { moved, plantTime } from "./zone";
import zh from "./zh";

export type Key = keyof typeof zh;
type Params = Record<string, unknown>;
interface Refusal {
  zh: string;
  en: string;
  do: Label;
}

const STORED = "anlu.lang";
const kept = typeof localStorage === "undefined" ? null : localStorage.getItem(STORED);

export const lang = ref<Lang>("zh");
const texts = shallowRef<Record<Key, string>>(zh);
const catalogue = shallowRef<Record<string, Refusal>>({});

export function fill(text: string, params: Params = {}): string {
  const forms = text.split(" | ");
  const form = forms.length > 1 ? (params.n === 1 ? forms[0] : forms[1]) : text;
  return (form ?? text).replace(/\{(\w+)\}/g, (_, name: string) => say(params[name]));
}

function say(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number")
    return Number.isInteger(value) ? String(value) : value.toLocaleString(locale(), { maximumFractionDigits: 2 });
  if (Array.isArray(value)) return value.map(say).join(lang.value === "zh" ? "、" : ", ");
  if (typeof value === "object" && "zh" in value) return label(value as Label);
  return String(value);
}

/** The text of a key in the language chosen, with its parameters filled in. */
export function t(key: Key, params?: Params): string {
  return fill(texts.value[key], params);
}

/** A text that comes from data (a kind's title, a name). */
export function label(of: Partial<Label> | string | null | undefined): string {
  if (!of) return "";
  if (typeof of === "string") return of;
  return of[lang.value] || of.zh || of.en || "";
}

export const locale = (): string => (lang.value === "zh" ? "zh-CN" : "en-GB");

/** Resolves when the language is on screen. Chinese is always there; English comes from its own chunk. */
export async function setLang(to: Lang): Promise<void> {
  texts.value = to === "en" ? (await import("./en")).default : zh;
  lang.value = to;
  if (typeof document !== "undefined") document.documentElement.lang = to === "zh" ? "zh-CN" : "en";
  if (typeof localStorage !== "undefined") localStorage.setItem(STORED, to);
}

/** Before the first paint: the language kept from last time. */
export async function startLang(): Promise<void> {
  if (kept === "en") await setLang("en");
}

const files = import.meta.glob<Record<string, Refusal>>("../../../backend/kernel/catalogue/*.json", { import: "default" });
let loading: Promise<void> | undefined;

/** Loads the sentences of the refusals, once; screens that show one await nothing: the text appears when it is here. */
export function loadCatalogue(): Promise<void> {
  loading ??= Promise.all(Object.values(files).map((load) => load())).then((parts) => {
    catalogue.value = Object.assign({}, ...parts);
  });
  // Out of reach now, it is asked for again by the next refusal.
  loading.catch(() => {
    loading = undefined;
  });
  return loading;
}

type Titles = Record<string, { title?: Label } | undefined>;

/** Names of steps, states and fields in a refusal become what the kind calls them; without a kind they become "this step", "this entry". */
function named(params: Params, kind?: KindFile): Params {
  const titles = (part: string): Titles => (kind?.[part] ?? {}) as Titles;
  const told: Params = { ...params };
  if (typeof params.transition === "string")
    told.transition = label(titles("transitions")[params.transition]?.title) || t("refusal.this_step");
  if (typeof params.what === "string")
    told.what = label(titles("transitions")[params.what]?.title) || label(titles("sets")[params.what]?.title) || t("refusal.this_step");
  if (typeof params.status === "string") told.status = label(titles("states")[params.status]?.title) || t("refusal.this_state");
  if (typeof params.set === "string") told.set = label(titles("sets")[params.set]?.title) || t("refusal.this_list");
  if (typeof params.field === "string") told.field = fieldName(params.field, kind) || t("refusal.this_field");
  if (typeof params.unit === "string") told.unit = params.unit === "turn" ? t("unit.turn") : params.unit;
  for (const [name, value] of Object.entries(params)) {
    if (typeof value === "number" && value > 1e12) told[name] = when(value, Date.now());
    if (name === "doc" || name === "kind") told[name] = label(kind?.title) || t("refusal.this_document");
  }
  return told;
}

/** `points.2.value` → what its field is called: looked for among the kind's fields, then the inputs of its steps and the entries of its lists. */
function fieldName(path: string, kind?: KindFile): string {
  const [first = ""] = path.split(".");
  type Inner = Record<string, { input?: Titles; fields?: Titles } | undefined>;
  const steps = Object.values((kind?.transitions ?? {}) as Inner).map((step) => step?.input?.[first]?.title);
  const lists = Object.values((kind?.sets ?? {}) as Inner).map((list) => list?.fields?.[first]?.title);
  const own = ((kind?.fields ?? {}) as Titles)[first]?.title;
  return label([own, ...steps, ...lists].find((title) => title));
}

const isOwn = (key: string): key is Key => key in zh;

/** Why something was refused and what to do, in the language chosen. Never the raw code. */
export function refusal(code: string, params: Params = {}, kind?: KindFile): { why: string; what: string } {
  const why = `refusal.${code}`;
  const what = `refusal.${code}_do`;
  if (isOwn(why) && isOwn(what)) return { why: t(why, params), what: t(what, params) };
  loadCatalogue().catch(() => undefined);
  const entry = catalogue.value[code];
  if (!entry) return { why: t("refusal.unknown"), what: t("refusal.unknown_do") };
  const told = named(params, kind);
  return { why: fill(label(entry), told), what: fill(label(entry.do), told) };
}

// ---- dates, ages, sizes ----

const two = (n: number): string => String(n).padStart(2, "0");

export function clock(ms: number): string {
  const { hour, minute } = plantTime(ms);
  return `${two(hour)}:${two(minute)}`;
}

const inWords = (ms: number, options: Intl.DateTimeFormatOptions): string =>
  new Intl.DateTimeFormat(locale(), { ...options, timeZone: "UTC" }).format(moved(ms));

/** "11月21日 星期六", "Sat 21 Nov" */
export function dateWords(ms: number): string {
  if (lang.value === "en") return inWords(ms, { weekday: "short", day: "numeric", month: "short" }).replace(",", "");
  return `${inWords(ms, { month: "long", day: "numeric" })} ${inWords(ms, { weekday: "long" })}`;
}

/** "14:06" today, "11月20日 14:06" before, with the year when it is another. */
export function when(ms: number, now: number): string {
  const d = plantTime(ms);
  const n = plantTime(now);
  if (d.year === n.year && d.month === n.month && d.day === n.day) return clock(ms);
  const date =
    d.year === n.year
      ? inWords(ms, { month: lang.value === "zh" ? "long" : "short", day: "numeric" })
      : inWords(ms, { year: "numeric", month: "short", day: "numeric" });
  return `${date} ${clock(ms)}`;
}

/** A length of time in its largest whole unit: "2 分钟", "3 小时", "5 天". */
export function span(ms: number): string {
  const minutes = Math.floor(Math.abs(ms) / 60_000);
  if (minutes < 1) return t("span.now");
  if (minutes < 60) return t("span.minutes", { n: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return t("span.hours", { n: hours });
  return t("span.days", { n: Math.floor(hours / 24) });
}

export function ago(ms: number, now: number): string {
  return now - ms < 60_000 ? t("span.just") : t("span.ago", { span: span(now - ms) });
}

/** Hours and minutes for a countdown: "5:26". */
export function hoursMinutes(ms: number): string {
  const minutes = Math.max(0, Math.ceil(ms / 60_000));
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}`;
}

export function bytes(n: number): string {
  if (n < 1_000) return `${n} B`;
  if (n < 1_000_000) return `${Math.round(n / 1_000)} KB`;
  if (n < 1_000_000_000) return `${(n / 1_000_000).toFixed(1)} MB`;
  return `${(n / 1_000_000_000).toFixed(1)} GB`;
}

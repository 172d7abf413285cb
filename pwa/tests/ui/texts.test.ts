import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Calendar } from "../../src/flow/calendar";
import { ago, bytes, clock, dateWords, fill, hoursMinutes, refusal, setLang, span, t, when } from "../../src/i18n";
import en from "../../src/i18n/en";
import zh from "../../src/i18n/zh";
import { fromPlantTime, plantCalendar, plantTime, zone } from "../../src/i18n/zone";

const walk = (folder: string): string[] =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? walk(path) : /\.(vue|ts)$/.test(name) ? [path] : [];
  });
const source = walk("src")
  .filter((path) => !/i18n\/(zh|en)\.ts$/.test(path))
  .map((path) => readFileSync(path, "utf8"))
  .join("\n");

afterEach(() => setLang("zh"));

test("both languages have the same texts, none of them empty", () => {
  expect(Object.keys(en).sort()).toEqual(Object.keys(zh).sort());
  for (const texts of [zh, en]) expect(Object.entries(texts).filter(([, text]) => text.trim() === "")).toEqual([]);
});

test("a text asks for the same parameters in both languages", () => {
  const asked = (text: string): string[] => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1] ?? ""))].sort();
  const differ = Object.keys(zh).filter((key) => {
    const [a, b] = [asked(zh[key as keyof typeof zh]), asked(en[key as keyof typeof zh])];
    return a.some((name) => !b.includes(name)) || b.some((name) => !a.includes(name));
  });
  expect(differ).toEqual([]);
});

test("English texts hold no Chinese, Chinese ones are not left in English", () => {
  expect(Object.entries(en).filter(([, text]) => /[\u4e00-\u9fff]/.test(text))).toEqual([]);
  const own = new Set(["list.comma", "span.now"]);
  expect(
    Object.entries(zh).filter(
      ([key, text]) => !/[\u4e00-\u9fff]/.test(text) && !own.has(key) && /[A-Za-z]{3,}/.test(text.replace(/\{\w+\}/g, "")),
    ),
  ).toEqual([]);
});

test("every text is used somewhere, every text used is there", () => {
  const dynamic = [
    /^grade\./,
    /^level\./,
    /^role\./,
    /^theme\./,
    /^verdict\./,
    /^refusal\.form\./,
    /^form\.(low|high|long|required)$/,
    /^hazards\.(open|mine|all)$/,
    /^round\.(do|none|tab)_[a-z]+$/,
    /^machine\.(yes|fault|locked|stopped|check|watch)$/,
  ];
  const unused = Object.keys(zh).filter(
    (key) => !source.includes(`"${key}"`) && !source.includes(`'${key}'`) && !dynamic.some((one) => one.test(key)),
  );
  expect(unused).toEqual([]);
  const used = [...source.matchAll(/\bt\(\s*["']([a-z_.]+)["']/g)].map((found) => found[1] ?? "");
  expect(used.filter((key) => !(key in zh))).toEqual([]);
});

test("one thing and many things are said differently", async () => {
  expect(fill("one thing | {n} things", { n: 1 })).toBe("one thing");
  expect(fill("one thing | {n} things", { n: 2 })).toBe("2 things");
  await setLang("en");
  expect(t("sync.unsent", { n: 1 })).toBe("1 unsent");
  expect(t("sync.unsent", { n: 3 })).toBe("3 unsent");
});

test("a length of time is said in its largest whole unit", () => {
  expect(span(59_000)).toBe("1 分钟内");
  expect(span(27 * 60_000)).toBe("27 分钟");
  expect(span(5 * 3_600_000)).toBe("5 小时");
  expect(span(72 * 3_600_000)).toBe("3 天");
  expect(ago(0, 30_000)).toBe("刚刚");
  expect(hoursMinutes(5 * 3_600_000 + 26 * 60_000)).toBe("5:26");
  expect(hoursMinutes(-1)).toBe("0:00");
  expect(bytes(1_900_000)).toBe("1.9 MB");
});

test("a refusal nobody knows is said in words, never as its code", () => {
  const { why, what } = refusal("no.such_code", { a: 1 });
  expect(why + what).not.toContain("no.such_code");
  expect(why).toBe(zh["refusal.unknown"]);
});

test("a refusal names steps and fields as the kind does", async () => {
  const { loadCatalogue } = await import("../../src/i18n");
  await loadCatalogue();
  const kind = {
    kind: "hazard",
    version: 1,
    title: { zh: "隐患", en: "Hazard" },
    transitions: { assign: { title: { zh: "派发", en: "Assign" }, input: { due_at: { title: { zh: "期限", en: "Due" } } } } },
    states: { closed: { title: { zh: "已关闭", en: "Closed" } } },
  };
  const said = refusal("flow.field_required", { field: "due_at" }, kind).why;
  expect(said).toContain("期限");
  expect(said).not.toContain("due_at");
  const state = refusal("flow.wrong_state", { transition: "assign", status: "closed" }, kind).why;
  expect(state).not.toMatch(/assign|closed/);
});

test("dates and hours are the plant's, whatever zone the phone is set to", async () => {
  const at = Date.UTC(2026, 10, 21, 20, 45);
  for (const minutes of [480, -210, 0]) {
    zone.value = minutes;
    expect(fromPlantTime(plantTime(at))).toBe(at);
  }
  zone.value = 480;
  expect(clock(Date.UTC(2026, 10, 21, 12, 0))).toBe("20:00");
  expect(clock(at)).toBe("04:45");
  expect(dateWords(at)).toBe("11月22日 星期日");
  expect(when(at, Date.UTC(2026, 10, 22, 1, 0))).toBe("04:45");
  expect(when(at, Date.UTC(2026, 10, 22, 17, 0))).toBe("11月22日 04:45");
  await setLang("en");
  expect(dateWords(at)).toBe("Sun 22 Nov");
  zone.value = null;
  expect(fromPlantTime(plantTime(at))).toBe(at);
});

test("where the plant's clocks are moved, each hour is shown as it was on them", () => {
  plantCalendar.value = new Calendar({
    offsets: [
      { since: 0, offset_min: 120 },
      { since: Date.UTC(2026, 9, 25, 1), offset_min: 60 },
    ],
  });
  expect(clock(Date.UTC(2026, 9, 25, 0, 30))).toBe("02:30");
  expect(clock(Date.UTC(2026, 9, 25, 1, 30))).toBe("02:30");
  expect(fromPlantTime({ year: 2026, month: 10, day: 25, hour: 4, minute: 0 })).toBe(Date.UTC(2026, 9, 25, 3));
  plantCalendar.value = null;
});

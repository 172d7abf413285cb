// The work, the same for every server: hazards of a plant with ten fields each (about 1 KB), edits made without a network, and a phone that was away.
// Everything follows from seeds, so that every run and every server gets the same values.

export const DOCUMENTS = Number(process.env.BENCH_DOCUMENTS ?? 10_000);
export const EDITS = Number(process.env.BENCH_EDITS ?? 1_000);
export const PHONES = 8;
export const EDITED = Math.min(500, DOCUMENTS);
export const DELTA = 100;
export const DELTAS = 5;
const MACHINES = 20;

const WORDS =
  "valve crane ladle furnace hydraulic pressure gauge leak guard rail slag torch permit zone north south bay roller bearing oil temp high low checked ok worn replace sling hook cable panel gas detector alarm fan belt motor pump seal inspection shift team lead contractor isolation lockout tag hot work confined space ladder scaffold harness".split(
    " ",
  );
const HAN = "钢水罐起重机吊钩制动器限位开关煤气报警仪护栏缺失漏油积水通道堵塞电缆破损照明不足安全帽未系防护罩松动温度过高压力异常标识不清".split("");
const GRADES = ["blue", "yellow", "orange", "red"];

/** Mulberry32. */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const pick = (r, list) => list[Math.floor(r() * list.length)];
const hex = (r, length) => Array.from({ length }, () => Math.floor(r() * 16).toString(16)).join("");

function english(r, length) {
  let text = "";
  while (text.length < length) text += (text ? " " : "") + pick(r, WORDS) + (r() < 0.15 ? Math.floor(r() * 9999) : "");
  return text.slice(0, length).trimEnd();
}

const chinese = (r, length) => Array.from({ length }, () => pick(r, HAN)).join("");

/** A UUIDv7, as phones make them: ids that are made one after another begin alike. */
export function uuid(r, ms) {
  const time = ms.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(r, 3)}-${pick(r, ["8", "9", "a", "b"])}${hex(r, 3)}-${hex(r, 12)}`;
}

/** What the hazards stand in: one area, twenty machines, the persons who carry the phones. `at` is when the first was reported, Unix ms. */
export function plant(at) {
  const r = chance(7);
  return {
    at,
    area: uuid(r, at),
    machines: Array.from({ length: MACHINES }, () => uuid(r, at)),
    people: Array.from({ length: PHONES }, () => uuid(r, at)),
  };
}

/** Records of ten fields: `reporter` and `reported_at` are those that our flow writes by itself. */
export function records({ at, area, machines, people }) {
  const r = chance(1);
  return Array.from({ length: DOCUMENTS }, (_, n) => ({
    id: uuid(r, at + n),
    phone: n % PHONES,
    fields: {
      title: { zh: chinese(r, 16), en: english(r, 48) },
      area,
      machine: pick(r, machines),
      note: english(r, 420) + chinese(r, 30),
      grade: pick(r, GRADES),
      photos: [{ sha256: hex(r, 64), type: "image/jpeg", size: 200_000 + Math.floor(r() * 100_000), w: 1600, h: 1200 }],
      source: `machine/${pick(r, machines)}`,
      item: english(r, 60),
      reporter: people[n % PHONES],
      reported_at: at + n,
    },
  }));
}

/** What one phone edits: single fields of the records that everybody edits. */
export function edits(phone, list, count = EDITS) {
  const r = chance(1_000 + phone);
  return Array.from({ length: count }, (_, n) => {
    const id = list[Math.floor(r() * EDITED)].id;
    const text = `p${phone}e${n} ${english(r, 12)}`;
    const field = pick(r, ["note", "note", "title", "grade"]);
    return { id, field, value: field === "note" ? text : field === "title" ? { zh: text, en: text } : pick(r, GRADES) };
  });
}

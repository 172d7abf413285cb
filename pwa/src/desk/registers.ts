// What the tables of people, machines, tags, areas and limits show of their documents.
import { choicesOf, show } from "../app/generic/show";
import { fieldsOf, statesOf, statusTitle, statusTone } from "../app/kinds";
import { areaName, machineTitle, nameOf, refView } from "../app/names";
import type { Doc, Label } from "../app/types";
import { useCore } from "../app/use";
import { machineType, machineTypes } from "../domains/equipment/types";
import { unitName } from "../domains/equipment/checks";
import { label, t } from "../i18n";
import { typed } from "../scan/code";
import type { Column, Filter } from "./rows";
import { d, type Word } from "./words";

export interface Register {
  kind: string;
  title: Word;
  /** the column it is ordered by at first */
  first: string;
  columns: Column<Doc>[];
  filters: Filter<Doc>[];
}

interface Role {
  role: string;
  area?: string | null;
}
const rolesOf = (doc: Doc): Role[] => (doc.view.roles as Role[] | null) ?? [];
const kindOf = (doc: Doc) => useCore().kind(doc.view.kind, doc.view.version);

const state: () => Column<Doc> = () => ({
  name: "state",
  title: d("state"),
  text: (doc) => statusTitle(kindOf(doc), doc.view.status),
  tone: (doc) => statusTone(kindOf(doc), doc.view.status),
  wide: 0.9,
});

function stateFilter(kind: string): Filter<Doc> {
  const options = Object.entries(statesOf(useCore().kind(kind))).map(([value, spec]) => ({ value, text: label(spec.title) }));
  return { name: "state", title: d("state"), options, of: (doc) => doc.view.status };
}

/** Areas that some of these documents lie in. */
function areaFilter(rows: Doc[], of: (doc: Doc) => string[]): Filter<Doc> {
  const ids = [...new Set(rows.flatMap(of))];
  const options = ids
    .map((value) => ({ value, text: areaName(value) }))
    .sort((a, b) => a.text.localeCompare(b.text, "zh-CN", { numeric: true }));
  return { name: "area", title: d("area"), options, of };
}

const text = (value: unknown): string => (value === null || value === undefined ? "" : String(value));

function people(rows: Doc[]): Register {
  const roles = choicesOf(fieldsOf(useCore().kind("person")).roles?.columns?.role ?? { type: "choice" });
  const title = (role: string): string => roles.find((one) => one.value === role)?.text ?? t("choice.unnamed");
  return {
    kind: "person",
    title: "people",
    first: "number",
    columns: [
      { name: "name", title: d("person_name"), text: (doc) => nameOf(doc.view), wide: 1 },
      { name: "number", title: d("staff_number"), text: (doc) => text(doc.view.number), wide: 0.8 },
      {
        name: "roles",
        title: d("roles"),
        text: (doc) =>
          rolesOf(doc)
            .map((one) => `${title(one.role)} · ${one.area ? areaName(one.area) : d("whole_plant")}`)
            .join(t("list.comma")),
        wide: 2.2,
      },
      { name: "employer", title: d("employer"), text: (doc) => text(doc.view.employer), wide: 1.2, spare: true },
      state(),
    ],
    filters: [
      { name: "role", title: d("role"), options: roles, of: (doc) => rolesOf(doc).map((one) => one.role) },
      areaFilter(rows, (doc) => rolesOf(doc).flatMap((one) => (one.area ? [one.area] : []))),
      stateFilter("person"),
    ],
  };
}

const faulty = (doc: Doc): boolean => ((doc.view.open_faults as unknown[] | null) ?? []).length > 0;

function machines(rows: Doc[]): Register {
  const inUse = [...new Set(rows.map((doc) => text(doc.view.type)))];
  const types = Object.entries(machineTypes())
    .filter(([value]) => inUse.includes(value))
    .map(([value, title]) => ({ value, text: label(title) }));
  return {
    kind: "machine",
    title: "machines",
    first: "number",
    columns: [
      { name: "number", title: d("number"), text: (doc) => text(doc.view.number), wide: 1 },
      { name: "name", title: d("name"), text: (doc) => nameOf(doc.view), wide: 1.9 },
      { name: "type", title: d("type"), text: (doc) => machineType(doc.view.type), wide: 1.2, spare: true },
      { name: "area", title: d("area"), text: (doc) => areaName(doc.view.area), wide: 1 },
      {
        name: "criticality",
        title: d("criticality"),
        text: (doc) => text(doc.view.criticality),
        wide: 0.7,
        spare: true,
      },
      {
        ...state(),
        text: (doc) => (faulty(doc) ? d("fault") : statusTitle(kindOf(doc), doc.view.status)),
        tone: (doc) => (faulty(doc) ? "red" : statusTone(kindOf(doc), doc.view.status)),
      },
    ],
    filters: [
      { name: "type", title: d("type"), options: types, of: (doc) => text(doc.view.type) },
      areaFilter(rows, (doc) => (doc.view.area ? [String(doc.view.area)] : [])),
      stateFilter("machine"),
    ],
  };
}

function tags(rows: Doc[]): Register {
  return {
    kind: "tag",
    title: "tags",
    first: "code",
    columns: [
      { name: "code", title: d("code"), text: (doc) => typed(text(doc.view.code)), wide: 1 },
      {
        name: "machine",
        title: d("machine"),
        text: (doc) => (doc.view.machine ? machineTitle(refView("machine", doc.view.machine)) : ""),
        wide: 2,
      },
      { name: "area", title: d("area"), text: (doc) => (doc.view.area ? areaName(doc.view.area) : ""), wide: 1, spare: true },
      state(),
    ],
    filters: [areaFilter(rows, (doc) => (doc.view.area ? [String(doc.view.area)] : [])), stateFilter("tag")],
  };
}

export function areas(rows: Doc[], machinesIn: ReadonlyMap<string, number>): Register {
  const parents = new Set(rows.map((doc) => text(doc.view.parent)).filter(Boolean));
  return {
    kind: "area",
    title: "areas",
    first: "code",
    columns: [
      { name: "code", title: d("code"), text: (doc) => text(doc.view.code), wide: 0.8 },
      { name: "name", title: d("name"), text: (doc) => nameOf(doc.view), wide: 1.6 },
      { name: "parent", title: d("parent"), text: (doc) => (doc.view.parent ? areaName(doc.view.parent) : ""), wide: 1.2, spare: true },
      {
        name: "machines",
        title: d("n_machines"),
        text: (doc) => text(machinesIn.get(doc.view.id) ?? 0),
        order: (doc) => machinesIn.get(doc.view.id) ?? 0,
        wide: 0.7,
        numeric: true,
      },
      state(),
    ],
    filters: [
      {
        name: "parent",
        title: d("parent"),
        options: [...parents].map((value) => ({ value, text: areaName(value) })),
        of: (doc) => text(doc.view.parent),
      },
      stateFilter("area"),
    ],
  };
}

/** "50 m"; what the plant has not set says so. */
export const limitText = (value: unknown, unit: unknown): string =>
  value === null || value === undefined ? d("unset") : [String(value), unitName(unit as string | null)].filter(Boolean).join(" ");

function limits(): Register {
  const sure = fieldsOf(useCore().kind("limit")).sure;
  return {
    kind: "limit",
    title: "limits",
    first: "name",
    columns: [
      { name: "name", title: d("limit"), text: (doc) => label(doc.view.title as Label), wide: 2.6 },
      {
        name: "value",
        title: d("value"),
        text: (doc) => limitText(doc.view.value, doc.view.unit),
        order: (doc) => (doc.view.value as number | null) ?? null,
        tone: (doc) => (doc.view.value === null ? "yellow" : undefined),
        wide: 0.8,
      },
      {
        name: "sure",
        title: d("sure"),
        text: (doc) => show(sure, doc.view.sure, 0),
        tone: (doc) => (doc.view.sure === "A" ? "ok" : "yellow"),
        wide: 1.2,
        spare: true,
      },
      {
        name: "state",
        title: d("state"),
        text: (doc) =>
          doc.view.status === "proposed"
            ? `${statusTitle(kindOf(doc), "proposed")} → ${limitText(doc.view.proposed, doc.view.unit)}`
            : statusTitle(kindOf(doc), doc.view.status),
        tone: (doc) => statusTone(kindOf(doc), doc.view.status),
        wide: 1.3,
      },
    ],
    filters: [
      stateFilter("limit"),
      { name: "sure", title: d("sure"), options: choicesOf(sure ?? { type: "choice" }), of: (doc) => text(doc.view.sure) },
      {
        name: "set",
        title: d("value"),
        options: [{ value: "unset", text: d("unset") }],
        of: (doc) => (doc.view.value === null ? "unset" : "set"),
      },
    ],
  };
}

export const REGISTERS: Record<string, { kind: string; of: (rows: Doc[]) => Register }> = {
  people: { kind: "person", of: people },
  machines: { kind: "machine", of: machines },
  tags: { kind: "tag", of: tags },
  limits: { kind: "limit", of: limits },
};

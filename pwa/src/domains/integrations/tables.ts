// What can be imported, and how a file gets to the server and back: see backend/domains/integrations/controllers.py.
import type { IconName } from "../../ui/icons";
import type { Me } from "../../app/types";
import { AppError, type Label } from "../../app/types";
import type { Key as Text } from "../../i18n";
import { lang } from "../../i18n";
import { useCore } from "../../app/use";

export interface TableOf {
  name: string;
  /** one of these, on the whole plant; `anywhere`: in some area, and then for what lies there */
  caps: string[];
  anywhere?: boolean;
  icon: IconName;
  title: Text;
}

/** In the order in which a new plant needs them: a machine names its area, a person the areas of their roles. */
export const TABLES: TableOf[] = [
  { name: "areas", caps: ["manage_plant"], icon: "area", title: "me.areas" },
  { name: "machines", caps: ["manage_equipment"], anywhere: true, icon: "crane", title: "machines.title" },
  { name: "people", caps: ["manage_people"], icon: "people", title: "me.people" },
  { name: "roster", caps: ["manage_people", "supervise"], anywhere: true, icon: "clock", title: "duty.rosters" },
];

export const mine = (me: Me | null): TableOf[] =>
  TABLES.filter((one) => one.caps.some((cap) => (one.anywhere ? (me?.caps[cap]?.length ?? 0) > 0 : me?.has(cap) === true)));

interface Said {
  code: string;
  message: Label;
  params: Record<string, unknown>;
}

export interface Report {
  table: string;
  form: string;
  rows: number;
  created: number;
  changed: number;
  unchanged: number;
  bad: number;
  accounts: number;
  plan: string;
  errors: (Said & { cell: string; row: number; column: string })[];
  errors_more: number;
  changes: { row: number; column: string; heading: Label; before: string; after: string }[];
  ignored: string[];
  unknown: Record<string, number>;
}

export interface Job {
  id: string;
  table: string;
  state: "running" | "done" | "failed";
  total: number;
  done: number;
  created: number;
  changed: number;
  unchanged: number;
  skipped: number;
  accounts: number;
  error: Said | null;
}

const at = (table: string): string => `/api/integrations/${table}`;

/** Address of a file to download; a download carries no headers, so it names person and phone itself. */
export function filePath(table: string, file: "template.xlsx" | "export.xlsx" | "export.csv"): string {
  const me = useCore().me.value;
  return `${at(table)}/${file}?${new URLSearchParams({ lang: lang.value, person: me?.id ?? "", device: String(me?.device ?? 0) })}`;
}

function send<T>(path: string, file: Blob): Promise<T> {
  return useCore().request<T>(path, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
}

export const check = (table: string, file: Blob): Promise<Report> => send(`${at(table)}/check?lang=${lang.value}`, file);

export const begin = (table: string, file: Blob, plan: string, skipBad: boolean): Promise<Job> =>
  send(`${at(table)}/imports?${new URLSearchParams({ plan, skip_bad: String(skipBad), lang: lang.value })}`, file);

export const jobOf = (id: string): Promise<Job> => useCore().request<Job>(`/api/integrations/imports/${id}`);

/** A refusal of the server, or that it could not be asked. */
export function problemOf(error: unknown): { code: string; params: Record<string, unknown> } {
  return error instanceof AppError ? { code: error.code, params: error.params } : { code: "", params: {} };
}

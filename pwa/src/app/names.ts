// How documents are called on screen. A reference is the plain id of a document of a known kind.
import { label, refusal, t } from "../i18n";
import { fieldsOf } from "./kinds";
import type { Label, View } from "./types";
import { useCore } from "./use";

/** The name of a document: its names, else its title, number, code or words; of a parked entry whose it is and why it waits; of a notice its sentence. */
export function nameOf(view: View | undefined): string {
  if (!view) return "";
  if (view.kind === "parked") return [personName(view.author), refusal(String(view.code)).why].filter(Boolean).join(": ");
  if (view.kind === "notice") return refusal(String(view.what), (view.params as Record<string, unknown> | null) ?? {}).why;
  if (view.kind === "roster") return rosterName(view);
  // The name of a limit or of a kind is for rules; people read its title.
  if (view.kind === "limit" || view.kind === "kind") return label(view.title as Label | null);
  const named = (view.names ?? view.name ?? view.title) as Label | string | null | undefined;
  const text = label(named);
  return text || String(view.number ?? view.code ?? view.note ?? "");
}

/** "点检员 11-20 – 12-21": a roster has no name of its own. */
function rosterName(view: View): string {
  const role = fieldsOf(useCore().kind("roster", view.version)).role?.of;
  const titles = typeof role === "object" ? role : {};
  return `${label(titles[String(view.role)])} ${[view.from, view.until].map((day) => String(day).slice(5)).join(" – ")}`.trim();
}

/** The document that a reference names, where this phone holds it. */
export function refView(kind: string, id: unknown): View | undefined {
  if (typeof id !== "string" || !id) return undefined;
  return useCore().get(id.includes("/") ? id : `${kind}/${id}`)?.view;
}

/** The name of what a reference points to; `*` where the reference carries its own kind. */
export function refName(kind: string, id: unknown): string {
  if (typeof id !== "string" || !id) return "";
  const view = refView(kind, id);
  if (view) return nameOf(view) || label(useCore().kind(view.kind)?.title);
  return kind === "person" ? t("person.unknown") : t("doc.not_here");
}

export const personName = (id: unknown): string => {
  const { me } = useCore();
  if (me.value && id === me.value.id) return label(me.value.names);
  if (id === "00000000-0000-0000-0000-000000000000" || id === "server") return t("person.server");
  return refName("person", id);
};

export const areaName = (id: unknown): string => refName("area", id);
export const machineName = (id: unknown): string => refName("machine", id);

/** "7号 铸造行车": number and name, as on the label. */
export function machineTitle(view: View | undefined): string {
  if (!view) return t("doc.not_here");
  const name = nameOf(view);
  const number = typeof view.number === "string" ? view.number : "";
  return number && !name.includes(number) ? `${name} · ${number}` : name;
}

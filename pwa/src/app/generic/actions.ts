// Which transitions of a document are offered: those possible now, those greyed with their reason, none that only the server says.
import { label, refusal } from "../../i18n";
import { isOpen, transitionsOf } from "../kinds";
import type { Doc, KindFile } from "../types";
import { useCore } from "../use";

export interface Action {
  name: string;
  title: string;
  /** why not; undefined when it is possible */
  why?: string;
  /** asks something first */
  asks: boolean;
  tone: "primary" | "plain" | "danger";
  stop: boolean;
}

/** Refusals that only say that the form is not filled in yet. */
const UNFILLED = /^flow\.field_/;

export function actionsOf(kind: KindFile | undefined, doc: Doc): Action[] {
  const core = useCore();
  const actions: Action[] = [];
  for (const [name, spec] of Object.entries(transitionsOf(kind))) {
    const title = label(spec.title);
    if (!title || spec.server) continue;
    const anywhere = spec.from === undefined || spec.from === "*" || spec.stop;
    if (anywhere ? !isOpen(kind, doc.view.status) : !spec.from?.includes(doc.view.status)) continue;
    const asks = Object.keys(spec.input ?? {}).length > 0;
    // A map of settings has no form yet: what needs one is changed elsewhere.
    if (Object.values(spec.input ?? {}).some((field) => field.type === "map" && field.required)) continue;
    const may = core.may(doc.key, name);
    const why = may.ok || (asks && may.code && UNFILLED.test(may.code)) ? undefined : refusal(may.code ?? "", may.params, kind).why;
    actions.push({ name, title, why, asks, tone: spec.stop ? "danger" : (spec.tone ?? "plain"), stop: spec.stop === true });
  }
  const ORDER = { primary: 0, plain: 1, danger: 2 };
  return actions.sort((a, b) => Number(Boolean(a.why)) - Number(Boolean(b.why)) || ORDER[a.tone] - ORDER[b.tone]);
}

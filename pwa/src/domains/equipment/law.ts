// Clauses as they are written in Chinese and English; the sources' names stand in the kind.
import type { Law } from "../../app/kinds";
import type { Label } from "../../app/types";
import { label, lang, t } from "../../i18n";

/** "特种设备安全法 第40条": source and clause of a check item. */
export function lawText(law: Law, sources: Record<string, Label>): string {
  const source = label(sources[law.id]) || t("check.source_unnamed");
  const clause = law.clause ?? "";
  if (!clause) return source;
  if (lang.value === "en") return `${source}, ${clause}`;
  const article = /^art\. (\d+)(.*)$/.exec(clause);
  if (article) return `${source} 第${article[1]}条${(article[2] ?? "").replace(/\((\d+)\)/g, "（$1）")}`;
  return /^[\x20-\x7e]*$/.test(clause) ? source : `${source} ${clause}`;
}

// Light, dark, or as the phone has it. One tap turns what is seen into its opposite and keeps that.
import { ref } from "vue";

export type Theme = "light" | "dark" | "auto";
const STORED = "anlu.theme";
const dark = (): boolean => matchMedia("(prefers-color-scheme: dark)").matches;

export const theme = ref<Theme>("auto");

export function setTheme(to: Theme): void {
  theme.value = to;
  if (to === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem(STORED);
  } else {
    document.documentElement.dataset.theme = to;
    localStorage.setItem(STORED, to);
  }
  const shown = to === "dark" || (to === "auto" && dark());
  document.querySelector('meta[name="theme-color"]')?.setAttribute("content", shown ? "#0D1113" : "#F3F4F1");
}

export function startTheme(): void {
  const kept = localStorage.getItem(STORED);
  setTheme(kept === "light" || kept === "dark" ? kept : "auto");
}

export function flipTheme(): void {
  const seen = theme.value === "auto" ? dark() : theme.value === "dark";
  setTheme(seen ? "light" : "dark");
}

// A refusal while signing in, as two sentences under the form.
import { ref } from "vue";
import { refusal, t } from "../../i18n";
import { AppError } from "../types";

export function useProblem() {
  const problem = ref<{ code: string; params: Record<string, unknown> } | null>(null);
  const busy = ref(false);
  async function attempt(work: () => Promise<void>): Promise<boolean> {
    busy.value = true;
    problem.value = null;
    try {
      await work();
      return true;
    } catch (error) {
      problem.value = error instanceof AppError ? { code: error.code, params: error.params } : { code: "", params: {} };
      if (!(error instanceof AppError)) console.error(error);
      return false;
    } finally {
      busy.value = false;
    }
  }
  const text = () => (problem.value ? refusal(problem.value.code, problem.value.params) : { why: t("refusal.unknown"), what: "" });
  return { problem, busy, attempt, text };
}

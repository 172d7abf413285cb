// One line at the foot of the screen, said to screen readers too.
import { ref } from "vue";

export const toast = ref<{ text: string; bad: boolean; id: number } | null>(null);
let last = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string, bad = false): void {
  last += 1;
  toast.value = { text, bad, id: last };
  clearTimeout(timer);
  timer = setTimeout(
    () => {
      toast.value = null;
    },
    bad ? 7_000 : 3_500,
  );
}

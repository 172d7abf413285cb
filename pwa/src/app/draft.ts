// What is being typed is kept as it is typed. A phone that is too full for it says so: words that are not kept must not look kept.
import { type ComputedRef, onScopeDispose, type Ref } from "vue";
import { refusal } from "../i18n";
import { useKeeping } from "../ui/keeping";
import { say } from "./toast";
import { AppError, type MediaValue } from "./types";
import { useCore } from "./use";

/** The draft of a form: `doc` is kind/id, or kind/new. What mends a refused op has one of its own. */
export const formDraft = (doc: string, what: string, mending: string | null = null): string =>
  ["form", ...doc.split("/"), what, ...(mending ? [mending] : [])].join(":");

export async function keepTyped<T>(id: string, value: T): Promise<void> {
  try {
    await useCore().keepDraft(id, JSON.parse(JSON.stringify(value)) as T);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (error.code === "storage.full") say(refusal(error.code, error.params).why, true);
  }
}

const open = new Map<string, (photo: MediaValue, field: string) => void>();

/**
 * For a form that keeps its draft under `id`: whether one of its photos is being kept. One that is kept only after the form was left goes into the draft,
 * or into the form where it has been opened again meanwhile. `put` adds a photo of a field.
 */
export function useKeepingDraft<T>(
  id: string,
  form: Ref<T>,
  put: (form: T, photo: MediaValue, field: string) => T = (now, photo) => withPhoto(now as { media: MediaValue[] }, photo) as T,
): ComputedRef<boolean> {
  const take = (photo: MediaValue, field: string): void => {
    form.value = put(form.value, photo, field);
  };
  open.set(id, take);
  onScopeDispose(() => {
    if (open.get(id) === take) open.delete(id);
  });
  return useKeeping((photo, field) => {
    const again = open.get(id);
    if (again) again(photo, field);
    else void late(photo, field);
  });

  async function late(photo: MediaValue, field: string): Promise<void> {
    await keepTyped(id, put((await useCore().draft<T>(id)) ?? form.value, photo, field));
  }
}

function withPhoto<T extends { media: MediaValue[] }>(form: T, photo: MediaValue): T {
  return form.media.some((one) => one.sha256 === photo.sha256) ? form : { ...form, media: [...form.media, photo] };
}

// What is being typed is kept as it is typed. A phone that is too full for it says so: words that are not kept must not look kept.
import { refusal } from "../i18n";
import { say } from "./toast";
import { AppError, type MediaValue } from "./types";
import { useCore } from "./use";

export async function keepTyped<T>(id: string, value: T): Promise<void> {
  try {
    await useCore().keepDraft(id, JSON.parse(JSON.stringify(value)) as T);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (error.code === "storage.full") say(refusal(error.code, error.params).why, true);
  }
}

/** A photo whose form was left while it was being kept goes into the form's draft, and is there when the form is opened again. */
export async function keepLate<T extends { media: MediaValue[] }>(id: string, form: T, photo: MediaValue): Promise<void> {
  const kept = (await useCore().draft<T>(id)) ?? form;
  if (!kept.media.some((one) => one.sha256 === photo.sha256)) await keepTyped(id, { ...kept, media: [...kept.media, photo] });
}

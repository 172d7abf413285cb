// A form is not said while one of its photos is still being kept: said too early it would go without the photo.
import { type ComputedRef, computed, type InjectionKey, inject, provide, type Ref, ref } from "vue";
import type { MediaValue } from "../app/types";

interface Keeping {
  photos: Ref<number>;
  /** takes a photo that was kept after its form had been left, and the name of its field */
  late: ((photo: MediaValue, field: string) => void) | undefined;
}

const KEEPING: InjectionKey<Keeping> = Symbol("keeping");

/** For the form: whether one of the photo fields within it is keeping a photo. */
export function useKeeping(late?: (photo: MediaValue, field: string) => void): ComputedRef<boolean> {
  const photos = ref(0);
  provide(KEEPING, { photos, late });
  return computed(() => photos.value > 0);
}

/** For the photo field: the count that its form looks at, and where a late photo goes. */
export const keepingHere = (): Keeping => inject(KEEPING, () => ({ photos: ref(0), late: undefined }), true);

// A form is not said while one of its photos is still being kept: said too early it would go without the photo.
import { type ComputedRef, computed, type InjectionKey, inject, provide, type Ref, ref } from "vue";

const KEEPING: InjectionKey<Ref<number>> = Symbol("keeping");

/** For the form: whether one of the photo fields within it is keeping a photo. */
export function useKeeping(): ComputedRef<boolean> {
  const photos = ref(0);
  provide(KEEPING, photos);
  return computed(() => photos.value > 0);
}

/** For the photo field: the count that its form looks at. */
export const keepingHere = (): Ref<number> => inject(KEEPING, () => ref(0), true);

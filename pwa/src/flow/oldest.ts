// The CEL engine takes Object.hasOwn (Chrome 93) when it is loaded; the plant's phones have Chrome 87. Imported before it.
import { hasOwn } from "../sync/op";

Object.hasOwn ??= hasOwn as typeof Object.hasOwn;

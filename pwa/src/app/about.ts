import { version } from "../../package.json";

export const VERSION = version;
export const isStandalone = (): boolean =>
  matchMedia("(display-mode: standalone)").matches || (navigator as { standalone?: boolean }).standalone === true;
export const isIos = (): boolean => /iPhone|iPad/.test(navigator.userAgent);

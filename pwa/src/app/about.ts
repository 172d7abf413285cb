import { version } from "../../package.json";

export const VERSION = version;
export const isStandalone = (): boolean =>
  matchMedia("(display-mode: standalone)").matches || (navigator as { standalone?: boolean }).standalone === true;
export const isIos = (): boolean => /iPhone|iPad/.test(navigator.userAgent);

/** Device numbers have 16 digits; people tell phones apart by the last five. */
export const shortNumber = (device: number): string => String(device).slice(-5);

/** What sort of phone it is, out of what its browser says of itself. */
export function deviceWords(agent: string): string {
  const system = /iPhone|iPad|Android|Windows|Macintosh|Linux/.exec(agent)?.[0] ?? "";
  const browser = /(MicroMessenger|DingTalk|HuaweiBrowser|MiuiBrowser|Edg|Firefox|HeadlessChrome|Chrome|Safari)\/?(\d+)?/.exec(agent);
  return [system, browser?.[1], browser?.[2]].filter(Boolean).join(" ") || agent.slice(0, 40);
}

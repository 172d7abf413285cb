// What the administrator's list calls a phone: its system and browser in short, never the whole user agent.

const SYSTEMS: [RegExp, string][] = [
  [/HarmonyOS/i, "HarmonyOS"],
  [/Android/i, "Android"],
  [/iPhone|iPad|iPod/, "iOS"],
  [/Windows/, "Windows"],
  [/Mac OS X/, "macOS"],
  [/Linux|CrOS/, "Linux"],
];
const BROWSERS: [RegExp, string][] = [
  [/MicroMessenger\/(\d+)/, "WeChat"],
  [/DingTalk\/(\d+)/, "DingTalk"],
  [/HuaweiBrowser\/(\d+)/, "Huawei"],
  [/MiuiBrowser\/(\d+)/, "MIUI"],
  [/Edg[A-Za-z]*\/(\d+)/, "Edge"],
  [/Firefox\/(\d+)/, "Firefox"],
  [/(?:Chrome|CriOS)\/(\d+)/, "Chrome"],
  [/Version\/(\d+)[.\d]* .*Safari/, "Safari"],
];

/** Such as "Android · Chrome 138"; what cannot be told is left out, so the text may be empty. */
export function deviceLabel(userAgent: string): string {
  const system = SYSTEMS.find(([sign]) => sign.test(userAgent))?.[1];
  const browser = BROWSERS.flatMap(([sign, name]) => {
    const found = sign.exec(userAgent);
    return found ? [`${name} ${found[1]}`] : [];
  })[0];
  return [system, browser].filter(Boolean).join(" · ");
}

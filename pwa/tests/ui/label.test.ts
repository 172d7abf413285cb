import { expect, it } from "vitest";
import { deviceLabel } from "../../src/app/label";

it.each([
  [
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
    "Android · Chrome 138",
  ],
  [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
    "iOS · Safari 17",
  ],
  [
    "Mozilla/5.0 (Linux; Android 12; HarmonyOS; NOH) AppleWebKit/537.36 Chrome/114.0.0.0 HuaweiBrowser/15.0.4 Mobile Safari/537.36",
    "HarmonyOS · Huawei 15",
  ],
  ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Linux · Firefox 140"],
  ["something unheard of", ""],
])("a phone is called by its system and browser: %s", (agent, label) => {
  expect(deviceLabel(agent)).toBe(label);
});

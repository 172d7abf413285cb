import { expect, test } from "vitest";
import { hostOf } from "../../src/scan/browser";

const ANDROID =
  "Mozilla/5.0 (Linux; Android 13; V2203A) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36";

test("windows of WeChat, WeCom, DingTalk and the like are known for what they are", () => {
  expect(hostOf(`${ANDROID} MicroMessenger/8.0.44.2502(0x28002C36) WeChat/arm64 Weixin`)).toBe("wechat");
  expect(hostOf(`${ANDROID} wxwork/4.1.10 MicroMessenger/7.0.1`)).toBe("wecom");
  expect(hostOf(`${ANDROID} AliApp(DingTalk/7.5.10) com.alibaba.android.rimet/0`)).toBe("dingtalk");
  expect(hostOf(`${ANDROID} Lark/7.4.5 LarkLocale/zh_CN`)).toBe("feishu");
  expect(hostOf(`${ANDROID} AlipayClient/10.5.16`)).toBe("alipay");
  expect(hostOf(`${ANDROID} QQ/8.9.80.12440 V1_AND_SQ`)).toBe("qq");
});

test("a browser is a browser, the QQ browser too", () => {
  expect(hostOf(ANDROID)).toBeNull();
  expect(hostOf(`${ANDROID} MQQBrowser/14.3`)).toBeNull();
  expect(
    hostOf("Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Version/17.1 Mobile/15E148 Safari/604.1"),
  ).toBeNull();
});

// Whose browser this is. Apps that open a scanned address in a window of their own give it no lasting storage, no worker and often no
// camera: Anlu is not at home there.

export type Host = "wechat" | "wecom" | "dingtalk" | "feishu" | "alipay" | "qq" | null;

const HOSTS: [Exclude<Host, null>, RegExp][] = [
  ["wecom", /wxwork/i],
  ["wechat", /MicroMessenger/i],
  ["dingtalk", /DingTalk/i],
  ["feishu", /Lark|Feishu/i],
  ["alipay", /AlipayClient/i],
  ["qq", /\bQQ\//i],
];

/** The app whose window this is, by what it says of itself; null in a browser. */
export function hostOf(userAgent: string): Host {
  return HOSTS.find(([, sign]) => sign.test(userAgent))?.[0] ?? null;
}

import { expect, test, vi } from "vitest";
import { byUrgency, noticeText } from "../../src/app/notices";
import type { Doc } from "../../src/app/types";
import { loadCatalogue, setLang } from "../../src/i18n";

vi.setConfig({ testTimeout: 30_000 });

const doc = (key: string, level: string, at: number): Doc =>
  ({ key: `notice/${key}`, view: { id: key, kind: "notice", version: 1, status: "open", level, at } }) as unknown as Doc;

test("red notices come first, and among equals the one that has waited longest", () => {
  const docs = [doc("a", "yellow", 1), doc("b", "red", 9), doc("c", "orange", 3), doc("d", "red", 4), doc("e", "blue", 0)];
  expect(byUrgency(docs).map((one) => one.view.id)).toEqual(["d", "b", "c", "a", "e"]);
});

test("a notice says in both languages what happened and what to do, with its numbers", async () => {
  await loadCatalogue();
  const view = { ...doc("a", "orange", 1).view, what: "notice.numbers_lost", params: { phone: "Pixel 7", first: 2, last: 3 } };
  expect(noticeText(view).why).toBe("手机“Pixel 7”丢失了第 2 至第 3 条内容，再也送不到。");
  expect(noticeText(view).what).not.toBe("");
  await setLang("en");
  expect(noticeText(view).why).toContain("lost its entries 2 to 3");
  await setLang("zh");
});

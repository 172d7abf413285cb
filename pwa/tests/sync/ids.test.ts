import { expect, test } from "vitest";
import { derived, kindDocument, NAMESPACE, PLANT, spawned, uuid7 } from "../../src/sync/ids";

// The right-hand sides are what Python's uuid module gives; tests/sync/test_ids.py asserts the same ones.
test("derived ids are the server's", () => {
  expect(NAMESPACE).toBe("032db8d0-15a8-57a2-8fe8-18d87e00c01d");
  expect(PLANT).toBe("cac7658c-37bd-58f0-92e8-5373cb251b1c");
  expect(kindDocument("hazard", 3)).toBe("15995e3c-d115-5eb9-a53e-6bcbd430d8a1");
  expect(spawned("ab".repeat(32), "缺陷")).toBe("c46b8cec-79cf-5ec5-80a9-ebe6d932b100");
  expect(derived("x".repeat(1000))).toBe("1b66520c-7b99-5024-a8a6-84438ef3b4eb");
});

test("a UUIDv7 carries its time and its chance", () => {
  expect(
    uuid7(
      1790000000123,
      Uint8Array.from({ length: 10 }, (_, i) => 0xf0 + i),
    ),
  ).toBe("01a0c450-6c7b-70f1-b2f3-f4f5f6f7f8f9");
});

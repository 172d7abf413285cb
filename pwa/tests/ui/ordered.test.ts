import fc from "fast-check";
import { expect, test } from "vitest";
import { byText } from "../../src/app/ordered";
import { Slices, sortInSlices } from "../../src/app/slices";

const always = (): boolean => true;

test("what is sorted in slices is as if it were sorted at once, equal ones in the order they came", async () => {
  const items = fc.array(fc.record({ rank: fc.integer({ min: 0, max: 50 }), name: fc.string() }), { maxLength: 3_000 });
  await fc.assert(
    fc.asyncProperty(items, async (all) => {
      const compare = (a: { rank: number }, b: { rank: number }): number => a.rank - b.rank;
      expect(await sortInSlices(all, compare, new Slices(), always)).toEqual([...all].sort(compare));
    }),
    { numRuns: 20 },
  );
});

test("sorting ends where nobody waits for it any more", async () => {
  const numbers = Array.from({ length: 2_000 }, (_, i) => -i);
  let asked = 0;
  expect(
    await sortInSlices(
      numbers,
      (a, b) => a - b,
      new Slices(),
      () => ++asked < 3,
    ),
  ).toBeNull();
});

test("numbers go by their figures, before names", () => {
  const sorted = ["转炉", "SB-10", "SB-9", "行车", "sb-9a", "A-2"].sort((a, b) => byText.compare(byText.rank(a), byText.rank(b)));
  expect(sorted).toEqual(["A-2", "SB-9", "sb-9a", "SB-10", ...["转炉", "行车"].sort((a, b) => a.localeCompare(b, "zh-CN"))]);
});

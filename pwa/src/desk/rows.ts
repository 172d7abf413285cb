// What a desk's table does with its rows: search, filter, sort, and which of them stand on screen.

export interface Column<T> {
  name: string;
  title: string;
  text: (row: T) => string;
  /** what it is ordered by, where that is not its text; an empty one comes last */
  order?: (row: T) => string | number | null;
  tone?: (row: T) => "ok" | "red" | "orange" | "yellow" | "blue" | undefined;
  /** share of the table's width */
  wide?: number;
  numeric?: boolean;
  /** left out where there is little room: beside an open pane, on a small screen */
  spare?: boolean;
}

export interface Filter<T> {
  name: string;
  title: string;
  options: { value: string; text: string }[];
  of: (row: T) => string | readonly string[];
}

export interface Sorting {
  column: string;
  down: boolean;
}

const collator = new Intl.Collator("zh-CN", { numeric: true });

/** All words must occur, wherever in the row; filters that are set must be met. */
export function found<T>(
  rows: T[],
  columns: Column<T>[],
  wanted: string,
  filters: Filter<T>[],
  set: Readonly<Record<string, string>>,
): T[] {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const asked = filters.filter((filter) => set[filter.name]);
  if (!words.length && !asked.length) return rows;
  return rows.filter((row) => {
    for (const filter of asked) {
      const is = filter.of(row);
      const value = set[filter.name] as string;
      if (typeof is === "string" ? is !== value : !is.includes(value)) return false;
    }
    if (!words.length) return true;
    const text = columns
      .map((column) => column.text(row))
      .join("\n")
      .toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** Ordered by one column; what has nothing there comes last either way. Equal rows keep their order. */
export function sorted<T>(rows: T[], columns: Column<T>[], by: Sorting | null): T[] {
  const column = columns.find((one) => one.name === by?.column);
  if (!column || !by) return rows;
  const keyed = rows.map((row) => ({ row, key: column.order ? column.order(row) : column.text(row) }));
  const empty = (key: string | number | null): boolean => key === null || key === "";
  keyed.sort((a, b) => {
    if (empty(a.key) || empty(b.key)) return Number(empty(a.key)) - Number(empty(b.key));
    const way = typeof a.key === "number" && typeof b.key === "number" ? a.key - b.key : collator.compare(String(a.key), String(b.key));
    return by.down ? -way : way;
  });
  return keyed.map((one) => one.row);
}

/** A second press turns the order round, a press on another column orders by that. */
export const pressed = (by: Sorting | null, column: string): Sorting => ({ column, down: by?.column === column ? !by.down : false });

const OVERSCAN = 8;

/** Rows `from` to `to` (not included) of `count` are on screen, some more on either side. */
export function slice(count: number, top: number, height: number, rowPx: number): { from: number; to: number } {
  const from = Math.max(0, Math.min(count, Math.floor(top / rowPx)) - OVERSCAN);
  return { from, to: Math.min(count, from + Math.ceil(height / rowPx) + 2 * OVERSCAN) };
}

"""Runs the benchmarks named, or all of them, and fails where one misses its goal."""

import importlib
import sys

ALL = ["first_screen", "start", "scan", "plant_lists", "sign_in", "sync_raw", "growth", "workers", "sync"]


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"没有 {', '.join(unknown)}；有 {', '.join(ALL)}。\nNo {', '.join(unknown)}; there are {', '.join(ALL)}.", file=sys.stderr)
        return 2
    met = [importlib.import_module(f"bench.{name}").main() for name in names or ALL]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

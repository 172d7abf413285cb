// Bundles the phones with all of the app they use, and runs them. Started by tests/sim; speaks JSON lines on standard input and output.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";

const outDir = mkdtempSync(join(tmpdir(), "anlu-sim-phones-"));
try {
  await build({
    configFile: false,
    logLevel: "error",
    root: new URL("../..", import.meta.url).pathname,
    ssr: { noExternal: true },
    build: { ssr: new URL("phones.ts", import.meta.url).pathname, outDir, minify: false, emptyOutDir: true },
  });
  await (await import(join(outDir, "phones.js"))).serve();
} finally {
  rmSync(outDir, { recursive: true, force: true });
}

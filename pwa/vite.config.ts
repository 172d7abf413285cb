import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import vue from "@vitejs/plugin-vue";
import { defineConfig, type Plugin } from "vite";
import { VitePWA } from "vite-plugin-pwa";

/** FIELD: what a phone loads before it shows Today, script and style, gzip. The build fails above it. */
const FIRST_SCREEN_BYTES_MAX = 150 * 1024;
const COMPRESSED = /\.(js|css|html|svg|json|webmanifest|wasm|txt)$/;

/** Adds up what the entry loads before it draws: its own chunk, all it imports statically, and their styles. */
function firstScreen(): Plugin {
  return {
    name: "anlu-first-screen",
    apply: "build",
    generateBundle(_, bundle) {
      const seen = new Set<string>();
      const add = (file: string): void => {
        if (seen.has(file)) return;
        seen.add(file);
        const chunk = bundle[file];
        if (chunk?.type !== "chunk") return;
        chunk.imports.forEach(add);
        chunk.viteMetadata?.importedCss.forEach((css) => {
          seen.add(css);
        });
      };
      for (const chunk of Object.values(bundle)) if (chunk.type === "chunk" && chunk.isEntry) add(chunk.fileName);
      let bytes = 0;
      for (const file of seen) {
        const part = bundle[file];
        if (part) bytes += gzipSync(part.type === "chunk" ? part.code : part.source, { level: 9 }).length;
      }
      this.info(`first screen: ${(bytes / 1024).toFixed(1)} KB gzip in ${seen.size} files`);
      if (bytes > FIRST_SCREEN_BYTES_MAX) this.error(`first screen: ${bytes} bytes gzip, more than ${FIRST_SCREEN_BYTES_MAX}`);
    },
  };
}

/** Writes FILE.br and FILE.gz beside every text file, once, so that the server never compresses. */
function precompressed(): Plugin {
  let folder = "dist";
  const walk = (path: string): string[] =>
    readdirSync(path).flatMap((name) => (statSync(join(path, name)).isDirectory() ? walk(join(path, name)) : [join(path, name)]));
  return {
    name: "anlu-precompressed",
    apply: "build",
    configResolved(config) {
      folder = resolve(config.root, config.build.outDir);
    },
    closeBundle: {
      order: "post",
      sequential: true,
      handler() {
        for (const path of walk(folder)) {
          if (!COMPRESSED.test(path)) continue;
          const raw = readFileSync(path);
          if (raw.length < 512) continue;
          writeFileSync(`${path}.gz`, gzipSync(raw, { level: 9 }));
          writeFileSync(`${path}.br`, brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
        }
      },
    },
  };
}

export default defineConfig({
  plugins: [
    vue(),
    VitePWA({
      strategies: "injectManifest",
      srcDir: "src",
      filename: "sw.ts",
      registerType: "prompt",
      // The page registers the worker itself (src/app/worker.ts): trusted types want one policy of ours.
      injectRegister: false,
      injectManifest: {
        // A classic script: Chrome 87 has no module workers.
        rollupFormat: "iife",
        globPatterns: ["**/*.{js,css,html,svg,png,wasm,webmanifest}"],
        maximumFileSizeToCacheInBytes: 4_000_000,
      },
      manifest: {
        id: "/",
        name: "安炉 Anlu",
        short_name: "安炉",
        description: "钢铁厂安全检查、隐患与作业，没有网络也能用。",
        lang: "zh-CN",
        start_url: "/",
        scope: "/",
        display: "standalone",
        orientation: "portrait",
        background_color: "#F3F4F1",
        theme_color: "#F3F4F1",
        icons: [
          { src: "/icons/icon-192.png", sizes: "192x192", type: "image/png" },
          { src: "/icons/icon-512.png", sizes: "512x512", type: "image/png" },
          { src: "/icons/icon-maskable-512.png", sizes: "512x512", type: "image/png", purpose: "maskable" },
        ],
        shortcuts: [{ name: "扫码 Scan", url: "/scan", icons: [{ src: "/icons/icon-192.png", sizes: "192x192", type: "image/png" }] }],
      },
    }),
    firstScreen(),
    precompressed(),
  ],
  build: {
    target: ["chrome87", "safari16.4"],
    // No asset as data: URL: the content security policy has no data:.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
  server: { fs: { allow: [".."] }, proxy: { "/api": "http://127.0.0.1:8000" } },
});

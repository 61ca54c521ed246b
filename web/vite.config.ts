import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

/** What the bundle contains of others: their licences want to travel with it. */
const BUNDLED = ["maplibre-gl", "preact", "@preact/signals", "@preact/signals-core", "@fontsource-variable/inter"];

function licences(): Plugin {
  const text = (name: string): string => {
    const folder = new URL(`./node_modules/${name}/`, import.meta.url);
    const { version } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8")) as { version: string };
    const file = name === "maplibre-gl" ? "LICENSE.txt" : "LICENSE";
    return `${name} ${version}\n${"-".repeat(72)}\n${readFileSync(new URL(file, folder), "utf8").trim()}\n`;
  };
  return {
    name: "licences",
    apply: "build",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "assets/licences.txt", source: BUNDLED.map(text).join("\n\n") });
    },
  };
}

export default defineConfig({
  base: "./", // every link is relative: the service may run under any prefix
  plugins: [licences()],
  build: {
    outDir: "../src/refersat/service/page",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // files, so that the Content-Security-Policy needs no `data:`
    chunkSizeWarningLimit: 1500,
    modulePreload: { polyfill: false },
    rollupOptions: { output: { manualChunks: { maplibre: ["maplibre-gl"] } } },
  },
  // `npm run dev` beside `refersat serve` on its usual port
  server: { proxy: Object.fromEntries(["/v1", "/processes", "/jobs"].map((path) => [path, "http://127.0.0.1:8000"])) },
});

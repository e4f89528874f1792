import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { threadId } from "node:worker_threads";
import { transformSync, version } from "esbuild";

const CACHE = fileURLToPath(new URL("../../../node_modules/.cache/convert-checkpoint-threads/", import.meta.url));
mkdirSync(CACHE, { recursive: true });

/** Every thread begins anew, and esbuild is a process for each file: what was made of a text is kept. */
function javascript(file) {
  const text = readFileSync(file, "utf8");
  const kept = join(CACHE, `${createHash("sha256").update(`${version}\n${file}\n${text}`).digest("hex")}.mjs`);
  try {
    return readFileSync(kept, "utf8");
  } catch {
    const { code } = transformSync(text, {
      loader: "ts",
      format: "esm",
      target: "node20",
      sourcefile: file,
      sourcemap: "inline",
    });
    const own = `${kept}.${process.pid}-${threadId}`;
    writeFileSync(own, code);
    renameSync(own, kept);
    return code;
  }
}

export function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  return { format: "module", source: javascript(fileURLToPath(url)), shortCircuit: true };
}

// Every check of a pair of ~0.6 B parameters on 512 tokens, a whole process, beside the two forward passes alone, each a
// whole process. Target on two cores: at most 2.2× their time.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { command, measure, median } from "./measure.mjs";
import { writeRandomLlama } from "./random-llama.mjs";

const tokens = 512;
const rounds = 3;
const model = { dim: 1024, ffn: 3072, vocab: 128256, layers: 38, heads: 16, kvHeads: 8, tied: true };
const once = fileURLToPath(new URL("forward-once.mjs", import.meta.url));

export async function run() {
  const folder = mkdtempSync(join(tmpdir(), "gate-bench-"));
  try {
    const [hf, native, gate] = ["hf", "native", "gate.json"].map((name) => join(folder, name));
    const parameters = writeRandomLlama(hf, model);
    execFileSync(process.execPath, [command, hf, native, "--no-fsync", "--quiet"]);
    console.log(`${(parameters / 1e6).toFixed(0)} M parameters, ${tokens} tokens, wasm`);
    const ids = join(folder, "ids.json");
    writeFileSync(ids, JSON.stringify(Array.from({ length: tokens }, (_, i) => (i * 7919 + 13) % model.vocab)));
    const checkpoints = [{ source: "native", target: "hf" }];
    writeFileSync(gate, JSON.stringify({ checkpoints, backend: "wasm", inputs: { ids: ["ids.json"] } }));
    const ratios = [];
    for (let round = 0; round < rounds; round++) {
      const forwards = [];
      for (const side of [hf, native]) forwards.push(await measure(process.execPath, [once, side, ids, "wasm"]));
      const all = await measure(process.execPath, [command, "gate", gate, "--json"]);
      const alone = forwards.reduce((sum, { seconds }) => sum + seconds, 0);
      ratios.push(all.seconds / alone);
      const [{ blocks }] = JSON.parse(all.out).checkpoints;
      const spent = blocks.map(({ name, seconds }) => `${name} ${seconds.toFixed(1)}`).join(", ");
      console.log(
        `  forwards ${alone.toFixed(1)} s, gate ${all.seconds.toFixed(1)} s (${spent}), ${(all.peakBytes / 1e6).toFixed(0)} MB: ${ratios.at(-1).toFixed(2)}×`,
      );
    }
    console.log(`  median ${median(ratios).toFixed(2)}× the two forwards alone; the target is 2.2`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// A 1.5 GB bf16 Llama (10 layers, dim 2048, ffn 8192, vocab 32000) both ways: time as a ratio to `cp` of the same bytes
// in the same run, and peak resident memory. Target: at most 250 MB.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, measure, median } from "./measure.mjs";
import { writeRandomLlama } from "./random-llama.mjs";

const shape = { dim: 2048, ffn: 8192, vocab: 32000, layers: 10, heads: 16, kvHeads: 8, tied: false };

export async function run() {
  const directory = mkdtempSync(join(tmpdir(), "convert-checkpoint-bench-"));
  try {
    const hf = join(directory, "hf");
    const bytes = 2 * writeRandomLlama(hf, shape);
    console.log(`${(bytes / 1e9).toFixed(2)} GB bf16`);
    const ratios = { "HF → DCP": [], "DCP → HF": [] };
    const peaks = { "HF → DCP": 0, "DCP → HF": 0 };
    for (let round = 0; round < 3; round++) {
      const steps = [
        ["HF → DCP", hf, join(directory, "dcp")],
        ["DCP → HF", join(directory, "dcp"), join(directory, "back")],
      ];
      for (const [name, from, to] of steps) {
        const copy = await measure("cp", ["-r", from, join(directory, "copy")]);
        rmSync(join(directory, "copy"), { recursive: true });
        const ours = await measure(process.execPath, [command, from, to, "--quiet", "--no-fsync"]);
        ratios[name].push(ours.seconds / copy.seconds);
        peaks[name] = Math.max(peaks[name], ours.peakBytes);
        console.log(`${name}: ${ours.seconds.toFixed(2)} s, cp ${copy.seconds.toFixed(2)} s`);
      }
      const same = await measure("cmp", [join(hf, "model.safetensors"), join(directory, "back", "model.safetensors")]);
      if (same.out !== "") throw new Error("the file did not come back byte for byte");
      rmSync(join(directory, "dcp"), { recursive: true });
      rmSync(join(directory, "back"), { recursive: true });
    }
    for (const name of Object.keys(ratios)) {
      const peak = (peaks[name] / 1e6).toFixed(0);
      console.log(`${name}: median ${median(ratios[name]).toFixed(2)}× cp, peak resident memory ${peak} MB`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

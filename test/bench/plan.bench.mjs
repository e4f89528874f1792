// `plan` and `inspect` of DeepSeek-V3 as the Hub has it (688 GB, 161 files, 91,991 tensors), in sparse files: seconds, CPU
// seconds and peak resident memory of the whole process. Targets on an idle machine: 3 s and 300 MB; 2 s.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeLargeDeepseek } from "./large-deepseek.mjs";
import { command, measure, median } from "./measure.mjs";

const rounds = 5;

export async function run() {
  const directory = mkdtempSync(join(tmpdir(), "convert-checkpoint-bench-"));
  try {
    const source = join(directory, "hf");
    const { tensors, files, bytes } = writeLargeDeepseek(source, { maxShardSize: 4.32e9 });
    console.log(`${tensors} tensors in ${files} files, ${(bytes / 1e9).toFixed(0)} GB`);
    for (const name of ["plan", "inspect"]) {
      const runs = [];
      for (let round = 0; round < rounds; round++)
        runs.push(await measure(process.execPath, [command, name, source, "--quiet"]));
      const seconds = median(runs.map((each) => each.seconds)).toFixed(2);
      const cpu = median(runs.map(({ cpuSeconds }) => cpuSeconds)).toFixed(2);
      const peak = (Math.max(...runs.map(({ peakBytes }) => peakBytes)) / 1e6).toFixed(0);
      console.log(`${name}: median ${seconds} s, ${cpu} s of CPU; peak resident memory ${peak} MB`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

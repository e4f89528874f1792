// `--help` against an empty Node, run in turn. Target: at most 2.5×.
import { command, measure, median } from "./measure.mjs";

export async function run() {
  const ratios = [];
  for (let round = 0; round < 15; round++) {
    const empty = await measure(process.execPath, ["-e", "0"]);
    const help = await measure(process.execPath, [command, "--help"]);
    ratios.push(help.seconds / empty.seconds);
  }
  console.log(`--help / node -e 0: median ${median(ratios).toFixed(2)}× (min ${Math.min(...ratios).toFixed(2)})`);
}

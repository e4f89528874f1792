// Run by execute.test.ts in a process of its own, to be killed: node child.mjs <target> <files> <killAt>
import { executeOutput } from "../../src/output/execute.ts";
import { plannedFiles, produceBytes, STEP } from "./execute-plan.ts";

const [target = "", bytes = "0", killAt = "0", ...flags] = process.argv.slice(2);
await executeOutput({
  files: plannedFiles(Number(bytes)),
  produce: produceBytes,
  targetDir: target,
  force: flags.includes("force"),
  stepBytes: STEP,
  resume: flags.includes("resume"),
  onProgress({ bytes: done }) {
    if (done >= Number(killAt)) process.kill(process.pid, "SIGKILL");
  },
});

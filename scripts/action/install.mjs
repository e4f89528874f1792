// Installs the command with all that is optional, and says where it is. PACKAGE is what npm installs; without it, the code
// beside this file is built where it is not built yet. CACHE keeps npm's downloads.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { need, setOutputs } from "./outputs.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const cache = join(need("CACHE"), "npm");
const { PACKAGE: wanted = "", RUNNER_TEMP: temporary = need("CACHE") } = process.env;
const isWindows = process.platform === "win32";

function npm(...args) {
  const quiet = ["--no-audit", "--no-fund", "--cache", cache];
  // What ONNX Runtime's install script would fetch is for CUDA.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" };
  const { status } = spawnSync("npm", [...args, ...quiet], { cwd: root, stdio: "inherit", shell: isWindows, env });
  if (status !== 0) process.exit(status ?? 1);
}

mkdirSync(cache, { recursive: true });
let home = root;
if (wanted !== "") {
  const prefix = join(temporary, "convert-checkpoint");
  const { peerDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const optional = Object.entries(peerDependencies).map(([name, range]) => `${name}@${range}`);
  npm("install", "--prefix", prefix, wanted, ...optional);
  home = join(prefix, "node_modules", "convert-checkpoint");
} else if (!existsSync(join(root, "dist/bin/convert-checkpoint.js"))) {
  npm("ci"); // builds as well
}
const command = join(home, "dist/bin/convert-checkpoint.js");
const { status, stdout } = spawnSync(process.execPath, [command, "--version"], { encoding: "utf8" });
if (status !== 0) {
  console.error(`${command} does not run`);
  process.exit(1);
}
console.log(`convert-checkpoint ${stdout.trim()}: ${command}`);
setOutputs({ command });

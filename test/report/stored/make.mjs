// Writes the reports that tests of views are fed with: what the built command gives with --json for each line of runs.json.
//   npm run build && node test/report/stored/make.mjs [NAME…]
import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("../../..", import.meta.url));
const runs = JSON.parse(readFileSync(join(here, "runs.json"), "utf8"));
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(runs);

// Paths in the reports are relative to a folder that has the fixtures and, in `made`, what is made of them.
const place = mkdtempSync(join(tmpdir(), "stored-"));
symlinkSync(join(root, "fixtures"), join(place, "fixtures"));
mkdirSync(join(place, "made"));
const made = (name) => join(place, "made", name);
const split = join(root, "fixtures/llama3/split");

/** Makes element `index` of an F32 tensor NaN, where the file has it. */
function spoil(file, tensor, index) {
  const bytes = readFileSync(file);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString());
  if (header[tensor] === undefined) return;
  bytes.writeFloatLE(Number.NaN, 8 + headerLength + header[tensor].data_offsets[0] + 4 * index);
  writeFileSync(file, bytes);
}

const config = readFileSync(join(split, "hf/config.json"), "utf8");
writeFileSync(made("other-eps.json"), config.replace('"rms_norm_eps": 1e-05', '"rms_norm_eps": 2e-05'));
cpSync(join(split, "golden.safetensors"), made("golden-nan.safetensors"));
spoil(made("golden-nan.safetensors"), "logits", 100);
cpSync(join(split, "hf"), made("nan-weight"), { recursive: true });
for (const name of readdirSync(made("nan-weight")).filter((each) => each.endsWith(".safetensors"))) {
  spoil(join(made("nan-weight"), name), "model.layers.1.mlp.up_proj.weight", 100);
}

/** Hundreds of numbers that a picture is made of would be as many lines. */
const onOneLine = (json) =>
  json.replace(/\[\s+(?:-?\d[\d.e+-]*|null)(?:,\s+(?:-?\d[\d.e+-]*|null)){7,}\s+\]/g, (list) =>
    list.replace(/\s+/g, " "),
  );

for (const name of names) {
  const args = [join(root, "dist/bin/convert-checkpoint.js"), ...runs[name], "--json"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: place, encoding: "utf8" });
  if (status !== 0 && status !== 1) throw new Error(`${name}: exit ${status}\n${stderr}`);
  // The header has whole paths.
  const json = stdout.replaceAll(realpathSync(place), "/place").replaceAll(place, "/place");
  writeFileSync(join(here, `${name}.json`), onOneLine(json));
  process.stdout.write(`${name}: exit ${status}, ${stdout.length} bytes\n`);
}
rmSync(place, { recursive: true });

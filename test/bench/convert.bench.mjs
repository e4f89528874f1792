// A 1.5 GB bf16 Llama (10 layers, dim 2048, ffn 8192, vocab 32000) both ways, as ratios to `cp` and to `cp` + `sync` of the same
// bytes in the same round, and peak resident memory: with and without threads, a seal, and waiting for the disk. With
// PYTHON=… (torch, safetensors, torchtitan 0.3.0) what one writes by hand stands beside it, and what torchtitan's own scripts do,
// which write f32 to DCP; with ROUNDS=5 medians are of so many. To f32, and back to bf16, beside a copy of what is written;
// TABLES=casts has these alone, VARIANTS="cp;cp + sync;default" some rows. Before each run a file as large as what it makes is
// written and deleted, so that all find memory that the machine has at hand. LAYERS=32 DIM=4096 FFN=14336 VOCAB=128256 TABLES=moves is
// an 8 B shape, 16 GB: it takes 50 GB of disk.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bytesBelow, command, measure, median, warmMemory } from "./measure.mjs";
import { writeRandomLlama } from "./random-llama.mjs";

const sized = (name, standard) => Number(process.env[name] ?? standard);
const dim = sized("DIM", 2048);
const shape = {
  dim,
  ffn: sized("FFN", 8192),
  vocab: sized("VOCAB", 32000),
  layers: sized("LAYERS", 10),
  heads: dim / 128,
  kvHeads: 8,
  tied: false,
};
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const TABLES = (process.env.TABLES ?? "moves,casts").split(",");
const script = (name) => fileURLToPath(new URL(name, import.meta.url));
/** Names of rows with semicolons between them; all unless given. */
const VARIANTS = process.env.VARIANTS?.split(";");

const ours = (...options) => [process.execPath, (from, to) => [command, from, to, "--quiet", ...options]];

function variantsOf(way, config) {
  const python = process.env.PYTHON;
  const { heads, kvHeads } = shape;
  const target = (to) => (way === "there" ? to : `${to}.safetensors`);
  return {
    cp: ["cp", (from, to) => ["-r", from, to]],
    "cp + sync": ["sh", (from, to) => ["-c", 'cp -r "$0" "$1" && find "$1" -type f -exec sync {} +', from, to]],
    default: ours(),
    "no fsync": ours("--no-fsync"),
    "no fsync, 1 thread": ours("--no-fsync", "--workers", "1"),
    "no fsync, 2 threads": ours("--no-fsync", "--workers", "2"),
    "no fsync, no seal": ours("--no-fsync", "--no-seal"),
    ...(python && {
      "by hand": [
        python,
        (from, to) => [script("convert-by-hand.py"), way, from, target(to), `${heads}`, `${kvHeads}`],
      ],
      torchtitan: [python, (from, to) => [script("convert-by-torchtitan.py"), way, from, to, config]],
    }),
  };
}

export async function run() {
  const directory = mkdtempSync(join(tmpdir(), "convert-checkpoint-bench-"));
  try {
    const hf = join(directory, "hf");
    const bytes = 2 * writeRandomLlama(hf, shape);
    console.log(`${(bytes / 1e9).toFixed(2)} GB bf16, medians of ${ROUNDS}`);
    if (TABLES.includes("moves")) await moves(hf, directory);
    if (TABLES.includes("casts")) await casts(hf, directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function moves(hf, directory) {
  const dcp = join(directory, "dcp");
  await measure(process.execPath, [command, hf, dcp, "--quiet"]);
  const back = join(directory, "back");
  await measure(process.execPath, [command, dcp, back, "--quiet"]);
  const same = await measure("cmp", [join(hf, "model.safetensors"), join(back, "model.safetensors")]);
  if (same.out !== "") throw new Error("the file did not come back byte for byte");
  rmSync(back, { recursive: true });
  const to = join(directory, "out");
  await table("HF → DCP", { from: hf, to, made: dcp }, variantsOf("there", hf));
  await table("DCP → HF", { from: dcp, to, made: hf }, variantsOf("back", hf));
}

/** Per byte written: `cp` copies what the cast makes. */
async function casts(hf, directory) {
  const [wide, out] = [join(directory, "wide"), join(directory, "out")];
  await measure(process.execPath, [command, hf, wide, "--quiet", "--no-fsync", "--dtype", "f32"]);
  const variantsTo = (dtype, made) => {
    const cast = (...options) => [
      process.execPath,
      (from, to) => [command, from, to, "--quiet", "--no-fsync", "--dtype", dtype, ...options],
    ];
    return { ...copies(made), "no fsync": cast(), "no fsync, no seal": cast("--no-seal") };
  };
  await table("bf16 → f32", { from: hf, to: out, made: wide }, variantsTo("f32", wide));
  await table("f32 → bf16", { from: wide, to: out, made: hf }, variantsTo("bf16", hf));
}

export const copies = (made) => ({
  cp: ["cp", (_, to) => ["-r", made, to]],
  "cp + sync": ["sh", (_, to) => ["-c", 'cp -r "$0" "$1" && find "$1" -type f -exec sync {} +', made, to]],
});

/**
 * Every variant in every round, in another order each time.
 * @param paths where each reads and writes, and a folder as large as what each makes
 */
export async function table(name, { from, to, made }, rows) {
  const bytes = bytesBelow(made);
  const variants = Object.fromEntries(Object.entries(rows).filter(([key]) => VARIANTS?.includes(key) ?? true));
  const runs = Object.fromEntries(Object.keys(variants).map((key) => [key, []]));
  for (let round = 0; round < ROUNDS; round++) {
    const names = Object.keys(variants);
    for (const key of [...names.slice(round % names.length), ...names.slice(0, round % names.length)]) {
      const [program, args] = variants[key];
      for (const path of [to, `${to}.safetensors`]) rmSync(path, { recursive: true, force: true });
      warmMemory(`${to}.warm`, bytes);
      runs[key].push(await measure(program, args(from, to)));
    }
  }
  for (const path of [to, `${to}.safetensors`]) rmSync(path, { recursive: true, force: true });
  console.log(`${name.padEnd(22)} seconds  CPU   × cp  × cp + sync  peak MB`);
  for (const [key, all] of Object.entries(runs)) {
    const ratio = (other) =>
      runs[other] === undefined ? "" : median(all.map(({ seconds }, i) => seconds / runs[other][i].seconds)).toFixed(2);
    const [seconds, cpu] = ["seconds", "cpuSeconds"].map((field) => median(all.map((one) => one[field])).toFixed(2));
    const peak = Math.max(...all.map(({ peakBytes }) => peakBytes)) / 1e6;
    console.log(
      `${key.padEnd(22)} ${seconds.padStart(7)} ${cpu.padStart(5)} ${ratio("cp").padStart(6)} ${ratio("cp + sync").padStart(12)} ${peak.toFixed(0).padStart(8)}`,
    );
  }
}

// Kills conversions at random moments and looks at what is there: node test/kills/run.mjs [--kills 300] [--seed N]
// Needs the built command. At every moment the target is the old one or the new one, whole; what a killed run left is
// continued to the same bytes, or gone.
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { command, convert, digestOf, glance, must, randomOf } from "./place.mjs";

const { values } = parseArgs({
  options: { kills: { type: "string", default: "300" }, seed: { type: "string", default: "1" } },
});
const place = mkdtempSync(join(tmpdir(), "kills-"));
const random = randomOf(Number(values.seed));

/** A llama of some 90 MB with pseudo-random weights, in the layout of Hugging Face. */
function makeModel(directory, seed) {
  const [d, f, v, layers] = [512, 1408, 16384, 6];
  const layer = (l) =>
    [
      ...["q", "k", "v", "o"].map((name) => [`self_attn.${name}_proj`, [d, d]]),
      ...["gate", "up"].map((name) => [`mlp.${name}_proj`, [f, d]]),
      ["mlp.down_proj", [d, f]],
      ...["input", "post_attention"].map((name) => [`${name}_layernorm`, [d]]),
    ].map(([name, shape]) => [`model.layers.${l}.${name}.weight`, shape]);
  const shapes = [
    ["model.embed_tokens.weight", [v, d]],
    ["model.norm.weight", [d]],
    ["lm_head.weight", [v, d]],
    ...Array.from({ length: layers }, (_, l) => layer(l)).flat(),
  ];
  let end = 0;
  const header = Object.fromEntries(
    shapes.map(([key, shape]) => {
      const begin = end;
      end += shape.reduce((product, n) => product * n, 4);
      return [key, { dtype: "F32", shape, data_offsets: [begin, end] }];
    }),
  );
  const text = Buffer.from(JSON.stringify(header));
  const data = new Float32Array(end / 4);
  let word = seed;
  for (let i = 0; i < data.length; i++) {
    word = (Math.imul(word, 1664525) + 1013904223) | 0;
    data[i] = word / 2 ** 33;
  }
  const length = Buffer.alloc(8);
  length.writeUInt32LE(text.length);
  mkdirSync(directory);
  writeFileSync(join(directory, "model.safetensors"), Buffer.concat([length, text, Buffer.from(data.buffer)]));
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: d,
    intermediate_size: f,
    num_hidden_layers: layers,
    num_attention_heads: 8,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: v,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    max_position_embeddings: 2048,
    hidden_act: "silu",
    tie_word_embeddings: false,
    torch_dtype: "float32",
  };
  writeFileSync(join(directory, "config.json"), JSON.stringify(config));
  writeFileSync(join(directory, "tokenizer.json"), JSON.stringify({ filler: "x".repeat(100_000) }));
  return directory;
}

const a = makeModel(join(place, "a"), 1);
const b = makeModel(join(place, "b"), 2);
must([a, join(place, "native"), "--no-fsync"]);
const native = join(place, "native");
const KINDS = [
  { name: "hf → torchtitan folder", source: a, target: "out", more: [] },
  { name: "torchtitan → hf folder, in shards", source: native, target: "out", more: ["--max-shard-size", "20MB"] },
  { name: "torchtitan → hf file", source: native, target: "out.safetensors", more: [] },
  { name: "hf → torchtitan .pt", source: a, target: "out.pt", more: ["--format", "pt"] },
  { name: "hf → torchtitan in four ranks, bf16", source: a, target: "out", more: ["--ranks", "4", "--dtype", "bf16"] },
];

/** The new target and the old one of a kind, and how long a run takes. */
function prepare(kind) {
  const fresh = join(place, `new-${kind.target}`);
  const old = join(place, `old-${kind.target}`);
  rmSync(fresh, { recursive: true, force: true });
  rmSync(old, { recursive: true, force: true });
  const begin = performance.now();
  must([kind.source, fresh, ...kind.more]);
  const ms = performance.now() - begin;
  // Another model in another container, so that old and new differ in names and sizes, too.
  must([b, old, "--to", "raw", "--no-fsync"]);
  return {
    ...kind,
    ms,
    old,
    digests: { new: digestOf(fresh), old: digestOf(old) },
    glances: [glance(fresh), glance(old)],
  };
}

const SIGNALS = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"];
const wrong = [];
const counts = {};
const count = (what) => {
  counts[what] = (counts[what] ?? 0) + 1;
};

/** One run that is killed, watched from outside the whole time; gives whether the signal came before its end. */
async function killedRun(kind, target, flags, signal, delay) {
  const child = spawn(process.execPath, [command, kind.source, target, ...kind.more, ...flags], { stdio: "ignore" });
  const exited = new Promise((resolve) => child.on("exit", (code, by) => resolve({ code, by })));
  let ended = false;
  exited.then(() => {
    ended = true;
  });
  const kill = setTimeout(() => child.kill(signal), delay);
  const isForced = flags.includes("--force");
  while (!ended) {
    const seen = glance(target);
    count("looks");
    const allowed = [...kind.glances, ...(isForced ? [] : [null])];
    // Between a listing and a size the exchange may come: only what is seen twice is there.
    if (!allowed.includes(seen) && !allowed.includes(glance(target)))
      wrong.push(`${kind.name} ${signal} after ${delay} ms: a reader saw ${seen}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  clearTimeout(kill);
  const { code, by } = await exited;
  if (code !== 0 && ![129, 130, 143].includes(code) && by !== signal)
    wrong.push(`${kind.name} ${signal} after ${delay} ms: exit ${code} ${by}`);
  return code !== 0;
}

async function trial(kind, n) {
  const parent = join(place, `trial-${n}`);
  mkdirSync(parent);
  const target = join(parent, kind.target);
  const isForced = random() < 0.6;
  if (isForced) cpSync(kind.old, target, { recursive: true });
  const flags = [
    ...(isForced ? ["--force"] : []),
    ...(random() < 0.5 ? ["--resume"] : []),
    ...(random() < 0.3 ? ["--no-fsync"] : []),
  ];
  let kills = 0;
  for (let again = 0; again < 1 + Math.floor(random() * 3); again++) {
    const signal = SIGNALS[Math.floor(random() * SIGNALS.length)];
    const delay = Math.round(random() * kind.ms * 1.1);
    if (!(await killedRun(kind, target, flags, signal, delay))) break;
    kills += 1;
    count(signal);
    const left = glance(target) === null ? null : digestOf(target);
    const allowed = [kind.digests.new, isForced ? kind.digests.old : null];
    // Two renames leave nothing at the name for a moment, where the system cannot exchange.
    if (!allowed.includes(left))
      wrong.push(`${kind.name} ${signal} after ${delay} ms ${flags}: the target is neither old nor new`);
    if (left === kind.digests.new) break;
  }
  if (glance(target) === null || digestOf(target) !== kind.digests.new) {
    const flag = random() < 0.7 ? ["--resume"] : [];
    const { status, stderr } = convert([kind.source, target, ...kind.more, ...flag, ...(isForced ? ["--force"] : [])]);
    if (status !== 0) wrong.push(`${kind.name} ${flags}: run again ${flag}: exit ${status} ${stderr.split("\n")[0]}`);
    else if (digestOf(target) !== kind.digests.new) wrong.push(`${kind.name} ${flags}: run again ${flag}: other bytes`);
    count(flag.length > 0 ? "continued" : "begun anew");
  }
  convert(["clean", target]);
  const rest = readdirSync(parent);
  if (rest.length !== 1) wrong.push(`${kind.name} ${flags}: left ${rest}`);
  rmSync(parent, { recursive: true });
  return kills;
}

try {
  let kills = 0;
  for (let n = 0; kills < Number(values.kills); ) {
    const kind = prepare(KINDS[n % KINDS.length]);
    const most = kills + Math.ceil(Number(values.kills) / (2 * KINDS.length));
    for (let i = 0; i < 200 && kills < most; i++) kills += await trial(kind, `${n}-${i}`);
    n += 1;
    process.stdout.write(`${kind.name}: ${kills} kills so far, ${wrong.length} wrong\n`);
  }
  process.stdout.write(`${kills} kills: ${JSON.stringify(counts)}\n${wrong.length} wrong\n${wrong.join("\n")}\n`);
  process.exitCode = wrong.length > 0 ? 1 : 0;
} finally {
  rmSync(place, { recursive: true, force: true });
}

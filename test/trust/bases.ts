// Good checkpoints that mutants are made of: every fixture, and layouts that no forward pass is written for.
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { adapters } from "../../adapters/registry.ts";
import { convert } from "../../src/convert/convert.ts";
import { planConversion } from "../../src/convert/plan.ts";
import type { ModelFacts } from "../../src/family/family.ts";
import { UNREAD } from "../../src/faults/kinds/controls/controls.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { MIN_GENERATED_TOKENS, randomIds } from "../../src/parity/inputs/random.ts";
import { FIXTURES, fixtureCases } from "../helpers/fixtures.ts";

export interface Base {
  readonly name: string;
  readonly family: string;
  /** Layout of `native`: what the other side is in. */
  readonly layout: string;
  readonly hf: string;
  readonly native: string;
  /** Where the native side's config stands. */
  readonly config: string;
  /** Logits of transformers; null where there are none of this base. */
  readonly golden: string | null;
  readonly inputs: string | null;
  /** Whether both sides can be run forward. */
  readonly runs: boolean;
}

/** Windows, chunks and scaled positions of the fixtures begin before this. */
const TOKENS = 160;

/** An id in place of the one whose vector a control changes: no input has that. */
const readable = (id: number): number => (id === UNREAD ? UNREAD + 1 : id);

/** Ids for a base without recorded ones. */
export const readableIds = ({ vocabSize, maxPositions }: ModelFacts): readonly number[] =>
  randomIds(Math.min(MIN_GENERATED_TOKENS, maxPositions), vocabSize, 0).map(readable);

/** The golden's first tokens: attention is causal, so that their logits are those of the whole. */
export function shortened(golden: string, folder: string, name: string): string {
  const file = openSafetensors(golden);
  try {
    const [ids, logits] = [file.tensors.get("input_ids")!, file.tensors.get("logits")!];
    const length = Math.min(TOKENS, ids.shape.at(-1)!);
    const vocab = logits.shape.at(-1)!;
    const parts = [
      { name: "input_ids", dtype: "I64", shape: [length], bytes: 8 * length },
      {
        name: "logits",
        dtype: logits.dtype,
        shape: [length, vocab],
        bytes: (logits.byteLength / elements(logits.shape)) * length * vocab,
      },
    ];
    let at = 0;
    const header = Object.fromEntries(
      parts.map(({ name: key, dtype, shape, bytes }) => {
        const begin = at;
        at += bytes;
        return [key, { dtype, shape, data_offsets: [begin, at] }];
      }),
    );
    const text = Buffer.from(JSON.stringify(header));
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(BigInt(text.length));
    const data = parts.map(({ name: key, bytes }) => {
      const target = new Uint8Array(bytes);
      file.read(key, 0, target);
      return target;
    });
    const path = join(folder, `${name.replaceAll("/", "-")}.golden.safetensors`);
    writeFileSync(path, Buffer.concat([head, text, ...data]));
    const [own] = data;
    const numbers = new BigInt64Array(own!.buffer, 0, length);
    writeFileSync(idsOf(path), JSON.stringify([...numbers].map((id) => readable(Number(id)))));
    return path;
  } finally {
    file.close();
  }
}

/** Where the ids of a shortened golden are, for a run against another checkpoint; without the one that a control changes. */
export const idsOf = (golden: string): string => `${golden}.ids.json`;

const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Of the fixtures that can be run forward. */
export const runnable = (): readonly Base[] =>
  fixtureCases.map(({ name, family, layout, hf, native, golden, inputs }) => ({
    name,
    family,
    layout,
    hf,
    native,
    config: hf,
    golden,
    inputs,
    runs: true,
  }));

interface Unrun {
  readonly name: string;
  readonly from: string;
  readonly to: string;
}

/** Layouts without a graph: Meta's, as it was saved, and vLLM's, made of the Hugging Face side. */
const UNRUN: readonly Unrun[] = [
  { name: "meta/llama3", from: "meta/llama3", to: "hf" },
  { name: "meta/llama2", from: "meta/llama2", to: "hf" },
  { name: "vllm/llama3", from: "llama3/split/hf", to: "vllm" },
  { name: "vllm/qwen3", from: "qwen3/split/hf", to: "vllm" },
  { name: "vllm/qwen3_moe", from: "qwen3_moe/untied/hf", to: "vllm" },
  { name: "vllm/glm4_moe", from: "glm4_moe/groups/hf", to: "vllm" },
  { name: "vllm/mixtral", from: "mixtral/untied/hf", to: "vllm" },
  { name: "vllm/deepseek_v3", from: "deepseek_v3/qlora-groups/hf", to: "vllm" },
];

async function converted(from: string, to: string, target: string): Promise<string> {
  const source = openCheckpoint(from);
  try {
    await convert(planConversion(source, target, { adapters, to }), { fsync: false });
    return target;
  } finally {
    source.close();
  }
}

/** Their other side is converted by this tool: what it makes is compared with upstream's bytes elsewhere. */
export async function unrun(folder: string): Promise<readonly Base[]> {
  const bases: Base[] = [];
  for (const { name, from, to } of UNRUN) {
    const source = join(FIXTURES, from);
    const made = await converted(source, to, join(mkdtempSync(join(folder, "base-")), to));
    const [native, hf] = to === "hf" ? [source, made] : [made, source];
    const layout = to === "hf" ? "meta" : to;
    const family = to === "hf" ? "llama3" : name.slice(name.indexOf("/") + 1);
    bases.push({ name, family, layout, hf, native, config: native, golden: null, inputs: null, runs: false });
  }
  return bases;
}

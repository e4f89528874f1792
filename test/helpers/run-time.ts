// What transformers 5 holds of a model at run time, made from the files of its Hub form: experts stacked, gate and up
// joined. fixtures/generate/run_time.py has the hashes of what it holds indeed.
import type { State, Stored } from "./checkpoints.ts";

/** Mixtral's files name the layer's mixture and its projections otherwise than transformers 5 does at run time. */
export function mixtralAtRunTime(state: State, isIn: (key: string) => boolean): State {
  const projections: Readonly<Record<string, string>> = { w1: "gate_proj", w2: "down_proj", w3: "up_proj" };
  const named = [...state].map(([key, tensor]) => {
    if (!isIn(key)) return [key, tensor] as const;
    const module = key.replace(".block_sparse_moe.", ".mlp.");
    return [
      module.replace(/\.(w[123])\.weight$/, (_, name: string) => `.${projections[name]}.weight`),
      tensor,
    ] as const;
  });
  return atRunTime(new Map(named), () => true);
}

const EXPERT = /^(.*\.mlp\.experts)\.(\d+)\.(gate|up|down)_proj\.weight$/;

/** @param isIn whether the experts below a key (`model.layers.1.mlp.experts`) and the rest are to be in that form */
export function atRunTime(state: State, isIn: (experts: string, name: "gate_up_proj" | "down_proj") => boolean): State {
  const made: State = new Map();
  for (const [key, tensor] of state) {
    const [, experts = "", , part] = EXPERT.exec(key) ?? [];
    const name = part === "down" ? "down_proj" : "gate_up_proj";
    if (part === undefined || !isIn(experts, name)) made.set(key, tensor);
    else if (!made.has(`${experts}.${name}`)) made.set(`${experts}.${name}`, stacked(state, experts, name));
  }
  return made;
}

function stacked(state: State, experts: string, name: "gate_up_proj" | "down_proj"): Stored {
  const parts = name === "down_proj" ? ["down"] : ["gate", "up"];
  const own: Stored[] = [];
  for (let e = 0; state.has(`${experts}.${e}.down_proj.weight`); e++)
    own.push(...parts.map((part) => state.get(`${experts}.${e}.${part}_proj.weight`)!));
  const [{ dtype, shape }] = own as [Stored];
  const bytes = Buffer.concat(own.map((tensor) => tensor.bytes));
  return { dtype, shape: [own.length / parts.length, parts.length * shape[0]!, shape[1]!], bytes };
}

/** Kimi's tower and text model under transformers' names. @param heads of the tower */
export function kimiAtRunTime(state: State, heads: number): State {
  const made: State = new Map();
  for (const [key, tensor] of state) {
    const qkv = /^vision_tower\.encoder\.blocks\.(\d+)\.wqkv\.(weight|bias)$/.exec(key);
    if (qkv === null) {
      made.set(renamed(key), tensor);
      continue;
    }
    const [rows, ...rest] = [tensor.shape[0]! / 3, ...tensor.shape.slice(1)];
    for (const [i, name] of ["q", "k", "v"].entries()) {
      const size = tensor.bytes.length / 3;
      const bytes = tensor.bytes.subarray(i * size, (i + 1) * size);
      made.set(`model.vision_tower.layers.${qkv[1]}.attn.${name}_proj.${qkv[2]}`, {
        dtype: tensor.dtype,
        shape: [rows, ...rest],
        bytes: name === "v" ? bytes : halvesOf(bytes, rows, heads),
      });
    }
  }
  return made;
}

/** Of each head the even rows, then the odd ones. */
function halvesOf(bytes: Uint8Array, rows: number, heads: number): Uint8Array {
  const row = bytes.length / rows;
  const [perHead, half] = [rows / heads, rows / heads / 2];
  const from = (i: number) => {
    const [head, at] = [Math.floor(i / perHead), i % perHead];
    return head * perHead + (at < half ? 2 * at : 2 * (at - half) + 1);
  };
  return Buffer.concat(Array.from({ length: rows }, (_, i) => bytes.subarray(from(i) * row, (from(i) + 1) * row)));
}

const NAMES: readonly (readonly [RegExp, string])[] = [
  [/^language_model\.model\./, "model.language_model."],
  [/^language_model\.lm_head\./, "lm_head."],
  [/^(vision_tower\.encoder\.blocks\.\d+)\.norm1\./, "$1.norm2."],
  [/^(vision_tower\.encoder\.blocks\.\d+)\.norm0\./, "$1.norm1."],
  [/^(vision_tower\.encoder\.blocks\.\d+)\.mlp\.fc1\./, "$1.mlp.fc2."],
  [/^(vision_tower\.encoder\.blocks\.\d+)\.mlp\.fc0\./, "$1.mlp.fc1."],
  [/^(vision_tower\.encoder\.blocks\.\d+)\.wo\./, "$1.attn.proj."],
  [/^vision_tower\.encoder\.blocks\./, "model.vision_tower.layers."],
  [/^vision_tower\.encoder\./, "model.vision_tower."],
  [/^vision_tower\.patch_embed\.pos_emb\.weight$/, "model.vision_tower.patch_embed.pos_emb.position_embeddings"],
  [/^vision_tower\./, "model.vision_tower."],
  [/^mm_projector\.proj\.0\./, "model.mm_projector.in_proj."],
  [/^mm_projector\.proj\.2\./, "model.mm_projector.out_proj."],
  [/^mm_projector\.pre_norm\./, "model.mm_projector.pre_norm."],
];

const renamed = (key: string): string => NAMES.reduce((name, [pattern, to]) => name.replace(pattern, to), key);

// The shape of what torchtitan 0.3.0 dumps of a dense decoder (`Configurable.Config.to_dict`), without initialisers.
export interface DumpOptions {
  readonly rope?: Readonly<Record<string, unknown>>;
  readonly fused?: boolean;
  readonly qkNorm?: boolean;
  readonly bias?: { readonly qkv?: boolean; readonly wo?: boolean; readonly mlp?: boolean };
  readonly attention?: Readonly<Record<string, unknown>>;
  readonly layer?: Readonly<Record<string, unknown>>;
  readonly nLayers?: number;
  readonly eps?: number;
}

const linear = (inFeatures: number, outFeatures: number, bias = false) => ({
  sharding_config: null,
  in_features: inFeatures,
  out_features: outFeatures,
  bias,
});

/** dim 54, 6 query heads and 2 key heads of 10 channels, ffn 75, vocabulary 263. */
export function torchtitanDump(options: DumpOptions = {}) {
  const { fused = true, qkNorm = false, bias = {}, nLayers = 2, eps = 1e-5 } = options;
  const norm = (size: number) => ({ sharding_config: null, normalized_shape: size, eps, elementwise_affine: true });
  const layer = () => ({
    sharding_config: null,
    attention: {
      n_heads: 6,
      dim: 54,
      qkv_linear: fused
        ? { head_dim: 10, n_heads: 6, n_kv_heads: 2, wqkv: linear(54, 100, bias.qkv) }
        : { head_dim: 10, wq: linear(54, 60, bias.qkv), wkv: linear(54, 20, bias.qkv) },
      wo: linear(60, 54, bias.wo),
      qk_norm: qkNorm ? norm(10) : null,
      n_kv_heads: 2,
      head_dim: 10,
      rope: { dim: 10, max_seq_len: 640, theta: 500000, scaling: "none", ...options.rope },
      ...options.attention,
    },
    feed_forward: { w1: linear(54, 75, bias.mlp), w2: linear(75, 54, bias.mlp), w3: linear(54, 75, bias.mlp) },
    moe: null,
    attention_norm: norm(54),
    ffn_norm: norm(54),
    ...options.layer,
  });
  return {
    sharding_config: null,
    dim: 54,
    vocab_size: 263,
    lm_head: linear(54, 263),
    tok_embeddings: { sharding_config: null, num_embeddings: 263, embedding_dim: 54 },
    norm: norm(54),
    layers: Array.from({ length: nLayers }, layer),
    enable_weight_tying: false,
  };
}

// What a tensor's key says of its use. It chooses between words for one and the same order, and nothing else.

const MLP = /mlp|ffn|feed_forward|expert|gate_up|w13|w1_w3|router/i;
const ATTENTION = /att(n|ention)|mixer|rope|query|(^|[._])(w?[qk]|w?qk|w?kv|w?qkv)[._\d]/i;
const FUSED =
  /qkv|qkvz|query_key_value|kv_[ab]|(^|[._])w?kv[._]|c_attn|in_proj(?!_[abz][._])|w13|w1_w3|gate_up|gate_and_up/i;

export const isMlp = (key: string): boolean => MLP.test(key) && !/att(n|ention)/i.test(key);
export const isAttention = (key: string): boolean => ATTENTION.test(key);
export const isFused = (key: string): boolean => FUSED.test(key);

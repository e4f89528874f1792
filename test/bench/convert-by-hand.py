"""What one writes by hand with torch and safetensors: Llama of Hugging Face to torchtitan's DCP, and back.
python convert-by-hand.py there|back SOURCE TARGET HEADS KV_HEADS"""

import re
import sys

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file

NAMES = [
    ("model.embed_tokens.weight", "tok_embeddings.weight"),
    ("model.norm.weight", "norm.weight"),
    ("lm_head.weight", "lm_head.weight"),
    ("model.layers.{}.input_layernorm.weight", "layers.{}.attention_norm.weight"),
    ("model.layers.{}.post_attention_layernorm.weight", "layers.{}.ffn_norm.weight"),
    ("model.layers.{}.self_attn.q_proj.weight", "layers.{}.attention.qkv_linear.wq.weight"),
    ("model.layers.{}.self_attn.k_proj.weight", "layers.{}.attention.qkv_linear.wk.weight"),
    ("model.layers.{}.self_attn.v_proj.weight", "layers.{}.attention.qkv_linear.wv.weight"),
    ("model.layers.{}.self_attn.o_proj.weight", "layers.{}.attention.wo.weight"),
    ("model.layers.{}.mlp.gate_proj.weight", "layers.{}.feed_forward.w1.weight"),
    ("model.layers.{}.mlp.up_proj.weight", "layers.{}.feed_forward.w3.weight"),
    ("model.layers.{}.mlp.down_proj.weight", "layers.{}.feed_forward.w2.weight"),
]

way, source, target, heads, kv_heads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])


def renamed(key: str, names: dict[str, str]) -> str:
    numbers = re.findall(r"\.(\d+)\.", key)
    return names[re.sub(r"\.\d+\.", ".{}.", key)].format(*numbers)


def permuted(key: str, tensor: torch.Tensor, inverse: bool) -> torch.Tensor:
    count = heads if re.search(r"q_proj|wq", key) else kv_heads if re.search(r"k_proj|wk", key) else 0
    if count == 0:
        return tensor
    rows, columns = tensor.shape
    shape = (count, rows // count // 2, 2, columns) if inverse else (count, 2, rows // count // 2, columns)
    return tensor.view(*shape).transpose(1, 2).reshape(rows, columns)


if way == "there":
    names = dict(NAMES)
    state = {renamed(k, names): permuted(k, v, False) for k, v in load_file(f"{source}/model.safetensors").items()}
    dcp.save(state, checkpoint_id=target, no_dist=True)
else:
    metadata = dcp.FileSystemReader(source).read_metadata().state_dict_metadata
    state = {k: torch.empty(m.size, dtype=m.properties.dtype) for k, m in metadata.items()}
    dcp.load(state, checkpoint_id=source, no_dist=True)
    names = {native: hf for hf, native in NAMES}
    save_file({renamed(k, names): permuted(k, v, True).contiguous() for k, v in state.items()}, target)

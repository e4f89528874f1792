"""torchtitan's own conversion of Llama, step by step as its scripts/checkpoint_conversion do it (0.3.0), for a model of any size:
the wheel holds the classes and not the scripts, and the scripts know torchtitan's own sizes only. On a CPU, so triton, which
it imports for kernels that never run here, may be missing.
python convert-by-torchtitan.py there|back SOURCE TARGET CONFIG    CONFIG: the folder of config.json"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter


class Anything(types.ModuleType):
    """A module whose every attribute exists; as a decorator it returns the function as it was."""

    __path__: list[str] = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name)

    def __call__(self, *args, **kwargs):
        return args[0] if len(args) == 1 and isinstance(args[0], types.FunctionType) else Anything("made")


if importlib.util.find_spec("triton") is None:
    sys.modules |= {name: Anything(name) for name in ("triton", "triton.language")}
    import torchtitan.distributed.minimal_async_ep  # noqa: F401

    for name in ("triton", "triton.language"):
        del sys.modules[name]

from torchtitan.components.checkpointer import ModelWrapper  # noqa: E402
from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm  # noqa: E402
from torchtitan.models.common.config_utils import get_attention_config, make_ffn_config, make_gqa_config  # noqa: E402
from torchtitan.models.llama3.model import Llama3Model, Llama3TransformerBlock  # noqa: E402
from torchtitan.models.llama3.state_dict_adapter import Llama3StateDictAdapter  # noqa: E402

way, source, target, folder = sys.argv[1:]
hf = json.loads((Path(folder) / "config.json").read_text())
dim, heads, vocab = hf["hidden_size"], hf["num_attention_heads"], hf["vocab_size"]
norm = RMSNorm.Config(normalized_shape=dim, eps=hf["rms_norm_eps"])
attention = make_gqa_config(
    dim=dim,
    n_heads=heads,
    n_kv_heads=hf["num_key_value_heads"],
    wqkv_param_init={},
    wo_param_init={},
    inner_attention=get_attention_config("flex"),
    rope=ComplexRoPE.Config(dim=dim // heads, max_seq_len=hf["max_position_embeddings"], theta=hf["rope_theta"]),
)
ffn = make_ffn_config(dim=dim, hidden_dim=hf["intermediate_size"], w1_param_init={}, w2w3_param_init={})
layer = Llama3TransformerBlock.Config(attention=attention, feed_forward=ffn, attention_norm=norm, ffn_norm=norm)
config = Llama3Model.Config(
    dim=dim,
    vocab_size=vocab,
    tok_embeddings=Embedding.Config(num_embeddings=vocab, embedding_dim=dim),
    lm_head=Linear.Config(in_features=dim, out_features=vocab),
    norm=norm,
    layers=[layer] * hf["num_hidden_layers"],
)

with torch.inference_mode():
    model = ModelWrapper(config.build())
    # What it writes without an index is one file a rank.
    adapter = Llama3StateDictAdapter(config, None)
    state = model._get_state_dict()
    if way == "there":
        hf_state = adapter.to_hf(state)
        dcp.load(hf_state, storage_reader=HuggingFaceStorageReader(path=source))
        dcp.save(adapter.from_hf(hf_state), checkpoint_id=target)
    else:
        dcp.load(state, checkpoint_id=source)
        # `--export_dtype bfloat16`
        hf_state = {key: value.to(torch.bfloat16) for key, value in adapter.to_hf(state).items()}
        writer = HuggingFaceStorageWriter(
            path=target, save_distributed=True, enable_consolidation=True, thread_count_consolidation=5
        )
        dcp.save(hf_state, storage_writer=writer)

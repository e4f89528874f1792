# The same job as forward-once.mjs in transformers: start, load, one forward pass in f32.
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(len(os.sched_getaffinity(0)))
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with open(sys.argv[2]) as file:
    ids = torch.tensor([json.load(file)])
with torch.inference_mode():
    logits = model(ids).logits[0]
print(json.dumps({"argmax": logits.argmax(-1).tolist()}))

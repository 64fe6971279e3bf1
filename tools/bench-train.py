"""PyTorch's side of `make bench-train`: the same steps with transformers.

    python tools/bench-train.py BATCH CONTEXT STEPS DROPOUT

Random weights of GPT-2 124M's shape, fp32, forward + backward + clip + AdamW
(fused, the fastest of PyTorch's), all cores. Prints one JSON object.
"""

import json
import resource
import sys
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def main():
    batch, context, steps = (int(word) for word in sys.argv[1:4])
    dropout = float(sys.argv[4])
    torch.manual_seed(0)
    config = GPT2Config(attn_pdrop=dropout, embd_pdrop=dropout, resid_pdrop=dropout, use_cache=False)
    model = GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
    ids = torch.randint(config.vocab_size, (batch, context))
    seconds = []
    # One step more, which is not timed.
    for _ in range(steps + 1):
        started = time.perf_counter()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - started)
    median = sorted(seconds[1:])[steps // 2]
    print(
        json.dumps(
            {
                "tokens_per_s": batch * context / median,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "loss": loss.item(),
                "torch": torch.__version__,
            }
        )
    )


main()

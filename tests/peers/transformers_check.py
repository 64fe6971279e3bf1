"""Opens a bundle with transformers and holds its greedy tokens and logits
against ours. Usage: transformers_check.py BINARY BUNDLE"""

import json
import subprocess
import sys
import warnings

import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline, set_seed
from transformers.utils import logging

logging.set_verbosity_error()
warnings.filterwarnings("ignore")
binary, bundle = sys.argv[1:3]
model = AutoModelForCausalLM.from_pretrained(bundle).float().eval()
tokenizer = AutoTokenizer.from_pretrained(bundle)
positions = min(48, model.config.n_positions)

for prompt in ["My dream is", "The weather", "I", "Don't  stop, @me ..."]:
    ids = [tokenizer.eos_token_id] + tokenizer(prompt)["input_ids"]
    theirs = list(ids)
    with torch.no_grad():
        while len(theirs) < positions:
            logits = model(torch.tensor([theirs])).logits[0, -1]
            if len(theirs) < 10:
                logits[tokenizer.eos_token_id] = -torch.inf
            token = int(logits.argmax())
            if token == tokenizer.eos_token_id:
                break
            theirs.append(token)
    command = [binary, "generate", "--model", bundle, "--prompt", prompt, "-n", "1", "--temperature", "0"]
    command += ["--precision", "f32", "--max-tokens", str(positions), "--json"]
    ours = json.loads(subprocess.check_output(command))["drafts"][0]["ids"]
    # Ours cuts at a newline, as the original does.
    assert ours == theirs[: len(ours)] and (len(ours) == len(theirs) or "\n" in tokenizer.decode(ours)), (
        prompt,
        ours,
        theirs,
    )

set_seed(0)
generator = pipeline("text-generation", model=bundle)
sequences = generator("My dream is", num_return_sequences=5)
assert len(sequences) == 5 and all(s["generated_text"].startswith("My dream is") for s in sequences)
card = ModelCard.load(bundle + "/README.md")
assert card.data.widget and card.data.tags
print(f"{bundle}: transformers opens it; greedy tokens agree; for example: {sequences[0]['generated_text']!r}")

"""Loads cards with huggingface_hub, offline. Usage: card_check.py README.md..."""

import sys

from huggingface_hub import ModelCard

for path in sys.argv[1:]:
    card = ModelCard.load(path)
    data = card.data
    assert data.widget == [{"text": "My dream is"}], data.widget
    assert "huggingtweets" in data.tags and data.library_name == "transformers"
    assert data.pipeline_tag == "text-generation" and data.thumbnail
    # Where no archive says what the posts are written in, none is made up.
    head = card.content.split("\n---\n")[0]
    assert bool(data.language) == ("\nlanguage:" in head), data.language
    sections = ["How does it work?", "Training data", "Training procedure", "How to use"]
    for section in sections + ["Limitations and bias", "About"]:
        assert f"\n## {section}\n" in card.text, section
    print(f"{path}: huggingface_hub reads it; language {data.language}")

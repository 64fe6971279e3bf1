//! Reading and writing GGUF files of architecture `gpt2`.

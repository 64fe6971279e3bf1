//! Fine-tuning, natively: the candle model, the optimiser and the loop.

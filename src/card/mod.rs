//! What a bot shows of itself: the model card and the picture.

//! The two recipes: the original's, and a modern one that differs where we know better.
//!
//! Settings that both share (four epochs, learning rate, AdamW, clipping, cosine schedule) are
//! defaults elsewhere; only the differences are here.

use candle_core::DType;
use serde::{Deserialize, Serialize};

use crate::tweets::Order;

/// Named choice of data preparation, block order, dropout, precision and early stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// The original, exactly.
    Classic,
    /// The original with [`DIFFERENCES`].
    #[default]
    Modern,
}

/// Which tokens the loss is averaged over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossOver {
    /// Every token of a block but its first, whichever post it belongs to.
    #[default]
    All,
    /// All but each post's first token, which could only be guessed from the previous post.
    WithinPosts,
}

/// One difference between the recipes, described for users.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    pub modern: &'static str,
    pub classic: &'static str,
}

/// All differences between the recipes.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        modern: "5% of each account's posts are held out before the epochs are made, and the bot is evaluated on them along the way",
        classic: "no post is held out",
    },
    Difference {
        modern: "the best weights are kept, and training stops when the held-out loss stops improving",
        classic: "the last weights are kept",
    },
    Difference { modern: "duplicate posts are dropped", classic: "duplicates are kept" },
    Difference {
        modern: "posts of several accounts are shuffled together",
        classic: "in each epoch the accounts follow one another",
    },
    Difference {
        modern: "the 6,000-character minimum applies to all accounts together, and separators count when smaller accounts are repeated to match the largest",
        classic: "it applies to each account, and only posts count",
    },
    Difference {
        modern: "blocks of tokens are taken in the order of the text, so that each epoch ends before the next begins",
        classic: "blocks are drawn from the whole text in random order",
    },
    Difference {
        modern: "posts can be filtered by date, language, length, and whether they are replies",
        classic: "all posts except retweets and short ones are used",
    },
    Difference {
        modern: "`<|endoftext|>` in a post is text like any other",
        classic: "it ends the post there",
    },
    Difference { modern: "dropout is the base model's own (GPT-2's: 0.1)", classic: "dropout is always 0.1" },
    Difference { modern: "on a GPU, matrix products are in bf16", classic: "everything is f32" },
];

/// The fraction of posts that [`Recipe::Modern`] holds out.
const HELD_OUT: f64 = 0.05;
/// Dropout of GPT-2 and of the original.
const CLASSIC_DROPOUT: f32 = 0.1;

impl Recipe {
    pub const NAMES: [&str; 2] = ["classic", "modern"];

    /// The recipe of this name on the command line.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "classic" => Some(Self::Classic),
            "modern" => Some(Self::Modern),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Modern => "modern",
        }
    }

    /// The fraction (0 to 1) of each account's posts that is held out.
    pub fn held_out(self) -> f64 {
        match self {
            Self::Classic => 0.0,
            Self::Modern => HELD_OUT,
        }
    }

    pub fn drops_duplicates(self) -> bool {
        self == Self::Modern
    }

    pub fn order(self) -> Order {
        match self {
            Self::Classic => Order::ByAccount,
            Self::Modern => Order::Interleaved,
        }
    }

    /// Whether blocks are shuffled, as by the original's trainer, which draws them from the text of
    /// all epochs.
    pub fn shuffles_blocks(self) -> bool {
        self == Self::Classic
    }

    /// The dropout probability to train with; `None` for the base model's own.
    pub fn dropout(self) -> Option<f32> {
        (self == Self::Classic).then_some(CLASSIC_DROPOUT)
    }

    /// Type of matrix products on a GPU; on the CPU it is always f32.
    pub fn products(self) -> DType {
        match self {
            Self::Classic => DType::F32,
            Self::Modern => DType::BF16,
        }
    }

    /// The paragraph on recipes in `train --help`.
    pub fn help() -> String {
        let mut text = String::from(
            "Recipes:\n  `classic` reproduces the original exactly. `modern` differs from it:\n",
        );
        for Difference { modern, classic } in DIFFERENCES {
            text.push_str(&format!("  - {modern} (classic: {classic})\n"));
        }
        text
    }
}

impl LossOver {
    pub const NAMES: [&str; 2] = ["all", "within-posts"];

    /// The choice of this name on the command line.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "within-posts" => Some(Self::WithinPosts),
            _ => None,
        }
    }

    /// Removes the labels that do not count. ids, labels: (T), with `eos` between posts.
    pub fn mask(self, ids: &[u32], labels: &mut [Option<u32>], eos: u32) {
        if self == Self::WithinPosts {
            for (label, _) in labels.iter_mut().zip(ids).filter(|&(_, &id)| id == eos) {
                *label = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_recipes_and_back() {
        for name in Recipe::NAMES {
            assert_eq!(Recipe::from_name(name).unwrap().name(), name);
        }
        assert!(LossOver::NAMES.iter().all(|name| LossOver::from_name(name).is_some()));
        assert_eq!(Recipe::from_name("best"), None);
    }

    #[test]
    fn within_posts_the_token_after_a_boundary_is_no_label() {
        let ids = [0, 7, 8, 0, 9, 5];
        let labels = [Some(7), Some(8), Some(0), Some(9), Some(5), None];
        let mut all = labels;
        LossOver::All.mask(&ids, &mut all, 0);
        assert_eq!(all, labels);
        let mut within = labels;
        LossOver::WithinPosts.mask(&ids, &mut within, 0);
        assert_eq!(within, [None, Some(8), Some(0), None, Some(5), None]);
    }
}

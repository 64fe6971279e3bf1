//! From archives to training data: the recipe's steps before the loop.

use anyhow::Context;

use super::args::Plan;
use crate::{
    bundle::manifest::AccountCounts,
    cli::import,
    record::{Artifact, DatasetCounts},
    tokenizer::Tokenizer,
    train::{
        data::{Data, as_sequence},
        recipe::Recipe,
    },
    tweets::{Cleaned, check_size, dataset},
};

/// The selected posts, split into training and held-out set.
pub struct Posts {
    /// Posts to train on.
    pub accounts: Vec<Cleaned>,
    /// Counts of what was found, for the card.
    pub counts: Vec<AccountCounts>,
    pub held_out: Vec<String>,
    pub duplicates: usize,
    /// Why no posts are held out although some were requested.
    pub too_few: Option<String>,
}

/// Reads the archives, then filters, drops duplicates and holds posts out, in this order. Warnings
/// go to standard error.
pub fn read(plan: &Plan) -> anyhow::Result<Posts> {
    let accounts = import::read_filtered(&plan.archives, &plan.filter)?;
    let counts = accounts.iter().map(Cleaned::counts).collect();
    let mut posts = Posts { accounts, counts, held_out: Vec::new(), duplicates: 0, too_few: None };
    if plan.recipe.drops_duplicates() {
        posts.duplicates = dataset::drop_duplicates(&mut posts.accounts);
    }
    let archives = plan.archives.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    let checked = match plan.recipe {
        Recipe::Classic => dataset::check_each(&posts.accounts),
        Recipe::Modern => check_size(&posts.accounts),
    };
    if let Some(warning) = checked.with_context(|| archives)? {
        say!("warning: {warning}");
    }
    if plan.held_out > 0.0 {
        match dataset::hold_out(&mut posts.accounts, plan.held_out, plan.learning.seed) {
            Ok(held_out) => posts.held_out = held_out,
            Err(too_few) => {
                say!("note: {too_few}");
                posts.too_few = Some(too_few.to_string());
            }
        }
    }
    dataset::check_length(&posts.accounts, plan.learning.epochs, plan.recipe.order())?;
    Ok(posts)
}

impl Posts {
    /// Token ids of the training text and of the held-out posts, and the text's digest for the
    /// record.
    pub fn data(&self, plan: &Plan, tokenizer: &Tokenizer, context: usize) -> (Data, Artifact) {
        let learning = &plan.learning;
        let posts =
            dataset::training_posts(&self.accounts, learning.epochs, plan.recipe.order(), learning.seed);
        let text = dataset::joined(&posts);
        let eos = tokenizer.eos_id();
        let held_out = self
            .held_out
            .iter()
            .map(|post| as_sequence(&tokenizer.encode_plain(post), eos, context))
            .collect();
        let ids = match plan.recipe {
            Recipe::Classic => tokenizer.encode(&text),
            Recipe::Modern => between_boundaries(&posts, tokenizer),
        };
        let data = Data { ids, held_out, eos };
        (data, Artifact::of_bytes("training text", text.as_bytes()))
    }

    /// Counts for the record.
    pub fn dataset_counts(&self, data: &Data) -> DatasetCounts {
        DatasetCounts {
            train_posts: self.accounts.iter().map(|a| a.kept.len()).sum(),
            validation_posts: self.held_out.len(),
            left_out_posts: self.duplicates + self.counts.iter().map(|c| c.filtered_out).sum::<usize>(),
            train_tokens: data.ids.len() as u64,
            validation_tokens: data.held_out_tokens() as u64,
        }
    }
}

/// Ids of the posts between `<|endoftext|>`. In a post, `<|endoftext|>` is only text: it does not
/// divide the post.
fn between_boundaries(posts: &[&str], tokenizer: &Tokenizer) -> Vec<u32> {
    let eos = tokenizer.eos_id();
    let of_post = |post: &&str| tokenizer.encode_plain(post).into_iter().chain([eos]);
    std::iter::once(eos).chain(posts.iter().flat_map(of_post)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_in_a_post_does_not_divide_it() {
        let json = include_bytes!("../../../tests/fixtures/tiny-gpt2/tokenizer.json");
        let tokenizer = Tokenizer::from_json(json).unwrap();
        let boundaries = |ids: &[u32]| ids.iter().filter(|&&id| id == tokenizer.eos_id()).count();
        let plain = ["the lamp", "a whole night"];
        assert_eq!(between_boundaries(&plain, &tokenizer), tokenizer.encode(&dataset::joined(&plain)));
        let odd = ["I typed <|endoftext|> once", "and <|endoftext|>"];
        let ids = between_boundaries(&odd, &tokenizer);
        assert_eq!((boundaries(&ids), boundaries(&tokenizer.encode(&dataset::joined(&odd)))), (3, 5));
        let first: Vec<u32> =
            ids.iter().copied().skip(1).take_while(|&id| id != tokenizer.eos_id()).collect();
        assert_eq!(tokenizer.decode(&first), odd[0]);
    }

    #[test]
    fn what_filters_refused_and_duplicates_are_left_out() {
        let counts = vec![AccountCounts { filtered_out: 17, ..AccountCounts::default() }; 2];
        let kept = vec!["the lamp".to_owned(); 3];
        let accounts = vec![Cleaned { kept, ..Cleaned::default() }];
        let posts = Posts { accounts, counts, held_out: vec![], duplicates: 5, too_few: None };
        let counts = posts.dataset_counts(&Data::default());
        assert_eq!((counts.train_posts, counts.left_out_posts), (3, 39));
    }
}

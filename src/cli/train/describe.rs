//! Descriptions of a run, for its record and for the bot made by it.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{
    args::{BATCH, DEFAULT_CONTEXT, EPOCHS, LEARNING_RATE, Plan, Start},
    drafts::LONGEST,
    posts::Posts,
};
use crate::{
    bundle::{
        checkpoint::CheckpointDtype,
        manifest::{self, BotInfo, CardExtras, Provenance},
    },
    cli::MADE_WITH,
    gpt2::Config,
    record::{Artifact, Lineage, Machine, RunConfig, Versions, report::SAMPLE_TOKENS},
    tokenizer::END_OF_TEXT,
    train::{
        checkpoint::Identity,
        data::Data,
        device,
        model::Model,
        optimizer,
        progress::Progress,
        recipe::{LossOver, Recipe},
        run::{Ending, Settings},
    },
    tweets::open,
};

/// Names of the original's base.
const ORIGINAL_BASES: [&str; 2] = ["gpt2", "openai-community/gpt2"];

/// A run whose inputs are all loaded.
pub struct Described<'a> {
    pub plan: &'a Plan,
    pub settings: &'a Settings,
    pub posts: &'a Posts,
    pub data: &'a Data,
    /// The text that `data` was made from.
    pub dataset: Artifact,
    /// The base, without its weights.
    pub base: Artifact,
    pub model: &'a Model,
}

impl Described<'_> {
    /// Properties that a checkpoint must share to be resumed. Checkpoint interval and `--max-steps`
    /// are not among them.
    pub fn identity(&self) -> Identity {
        let Settings { learning_rate, batch, accumulate, context, seed, .. } = self.settings;
        let config = self.model.config();
        let identity = Identity::default()
            .with("--recipe", self.plan.recipe.name())
            .with("--seed", seed)
            .with("--epochs", self.plan.learning.epochs)
            .with("--lr", learning_rate)
            .with("--batch", batch)
            .with("--accumulate", accumulate)
            .with("--context", context)
            .with("--dropout", json!(dropouts(config)))
            .with("--loss-over", &self.plan.learning.loss_over)
            .with("--held-out", self.plan.held_out)
            .with("--eval-every", self.settings.evaluate_every)
            .with("--patience", self.settings.patience)
            .with("--device", device::name(&self.model.device()))
            .with("the base", digest(&self.base))
            .with("the network", network(config))
            .with("the digest of the training text and held-out posts", self.data.digest());
        // Named only where older checkpoints are of another run, because they have neither.
        let identity = match self.settings.shuffle_blocks {
            true => identity.with("the order of blocks", "drawn"),
            false => identity,
        };
        match (self.settings.loss_over, self.data.held_out.is_empty()) {
            (LossOver::WithinPosts, false) => identity.with("the held-out loss", "within posts"),
            _ => identity,
        }
    }

    /// The initial part of the record.
    pub fn run_config(&self) -> anyhow::Result<RunConfig> {
        let plan = self.plan;
        let mut config = RunConfig {
            name: self.info().slug(),
            recipe: plan.recipe.name().into(),
            command: plan.command_line(),
            seed: plan.learning.seed,
            accounts: self.posts.counts.clone(),
            dataset: self.posts.dataset_counts(self.data),
            parameters: self.model.parameters(),
            versions: Versions::of_this_build(),
            machine: match self.model.device().is_cuda() {
                true => Machine::detect().with_nvidia(),
                false => Machine::detect(),
            },
            lineage: Lineage {
                archives: plan.archives.iter().map(|path| archive(path)).collect::<anyhow::Result<_>>()?,
                dataset: self.dataset.clone(),
                base: self.base.clone(),
                output: None,
            },
            ..RunConfig::default()
        };
        config.set_hyper_parameters(&self.hyper_parameters())?;
        Ok(config)
    }

    fn hyper_parameters(&self) -> Map<String, Value> {
        let config = self.model.config();
        let [embedding, attention, residual] = dropouts(config);
        let mut all = match serde_json::to_value(self.settings) {
            Ok(Value::Object(all)) => all,
            _ => Map::new(),
        };
        let more = json!({
            "epochs": self.plan.learning.epochs,
            "held_out_share": self.plan.held_out,
            "drop_duplicates": self.plan.recipe.drops_duplicates(),
            "interleave_accounts": self.plan.recipe == Recipe::Modern,
            "filter": self.plan.filter_words.join(" "),
            "optimizer": "AdamW",
            "beta_1": decimal(optimizer::BETA_1),
            "beta_2": decimal(optimizer::BETA_2),
            "epsilon": decimal(optimizer::EPSILON),
            "weight_decay": 0.0,
            "clip": decimal(optimizer::CLIP),
            "schedule": "cosine to 0, no warm-up",
            "embd_pdrop": decimal(embedding),
            "attn_pdrop": decimal(attention),
            "resid_pdrop": decimal(residual),
            "checkpoint_activations": self.model.checkpoint_activations,
            "n_layer": config.n_layer,
            "n_embd": config.n_embd,
            "n_head": config.n_head,
            "n_positions": config.n_positions,
            "vocab_size": config.vocab_size,
            "precision": "f32",
            "matrix_products": self.model.products(),
            "device": device::name(&self.model.device()),
            "dtype": self.plan.dtype_name(),
            SAMPLE_TOKENS: LONGEST,
        });
        if let Value::Object(more) = more {
            all.extend(more);
        }
        all
    }

    /// The bot's identity, without how it was made.
    fn info(&self) -> BotInfo {
        let accounts = &self.posts.accounts;
        let names: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
        BotInfo {
            name: self.plan.name.clone().unwrap_or_else(|| names.join(" & ")),
            handles: accounts.iter().map(|a| a.handle.clone()).collect(),
            accounts: self.posts.counts.clone(),
            notice: self.plan.notice.clone(),
            provenance: Provenance::default(),
        }
    }

    /// The bot's identity and how it was made.
    pub fn bot(&self, progress: &Progress) -> BotInfo {
        let (plan, settings) = (self.plan, self.settings);
        let (first_loss, final_loss) = progress.first_and_final_loss();
        let provenance = Provenance {
            made_with: MADE_WITH.into(),
            base: Some(plan.base_name()),
            command: Some(plan.command_line()),
            seed: Some(settings.seed),
            epochs: Some(plan.learning.epochs),
            steps: Some(progress.step),
            learning_rate: Some(settings.learning_rate),
            batch: Some(settings.batch),
            recipe: Some(plan.recipe.name().into()),
            context: Some(settings.context),
            train_tokens: Some(progress.tokens),
            train_seconds: Some(progress.seconds),
            first_loss: Some(first_loss),
            final_loss: Some(final_loss),
            parameters: Some(self.model.parameters()),
            created_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs()),
        };
        BotInfo { provenance, ..self.info() }
    }

    /// What the card shows of the run, without the bot's own drafts.
    pub fn extras(&self, progress: &Progress, ending: Ending) -> CardExtras {
        let [embedding, attention, residual] = dropouts(self.model.config());
        let mut rows = vec![("Held-out posts", self.posts.held_out.len().to_string())];
        if self.plan.recipe.drops_duplicates() {
            rows.push(("Duplicates dropped", self.posts.duplicates.to_string()));
        }
        if self.settings.accumulate > 1 {
            rows.push(("Batches per step", self.settings.accumulate.to_string()));
        }
        rows.extend([
            ("Dropout", format!("{embedding}, {attention}, {residual} (embeddings, attention, residuals)")),
            ("Optimiser", "AdamW, no weight decay".into()),
            ("Gradient clip", optimizer::CLIP.to_string()),
            ("Schedule", "cosine to 0, no warm-up".into()),
            (
                "Precision",
                match self.model.products() {
                    "f32" => "32-bit floats".into(),
                    products => format!("32-bit floats, matrix products in {products}"),
                },
            ),
        ]);
        CardExtras {
            recipe: Some(manifest::Recipe {
                name: self.plan.recipe.name().into(),
                differences: self.differences(progress, ending),
            }),
            hyper_parameters: rows.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            validation: progress.evaluations.iter().map(|e| (e.step as u64, f64::from(e.loss))).collect(),
            ..CardExtras::default()
        }
    }

    /// The differences between this run, as it turned out, and the original.
    fn differences(&self, progress: &Progress, ending: Ending) -> Vec<String> {
        let (plan, settings, posts) = (self.plan, self.settings, self.posts);
        let mut all = Vec::new();
        let mut say = |applies: bool, sentence: String| {
            if applies {
                all.push(sentence);
            }
        };
        let held_out = posts.held_out.len();
        say(
            held_out > 0,
            format!(
                "{held_out} posts ({}%) were held out before the epochs were made, and the bot was evaluated on them every {} steps.",
                (100.0 * plan.held_out).round(),
                settings.evaluate_every
            ),
        );
        if let Some(best) = progress.best() {
            say(
                true,
                format!(
                    "The weights of step {} are kept, the best of {} evaluations.",
                    best.step,
                    progress.evaluations.len()
                ),
            );
        }
        say(
            ending == Ending::Early,
            format!(
                "Training stopped after step {}, because the held-out loss had stopped improving.",
                progress.step
            ),
        );
        say(posts.too_few.is_some(), "No post was held out: there are too few.".into());
        say(posts.duplicates > 0, format!("{} duplicate posts were dropped.", posts.duplicates));
        say(
            posts.accounts.len() > 1 && plan.recipe == Recipe::Modern,
            "The accounts' posts were shuffled together.".into(),
        );
        say(
            plan.recipe == Recipe::Modern
                && posts.accounts.iter().flat_map(|a| &a.kept).any(|post| post.contains(END_OF_TEXT)),
            format!("`{END_OF_TEXT}` in a post was read as text, not as its end."),
        );
        say(
            !plan.filter_words.is_empty(),
            format!("Posts were filtered with {}.", plan.filter_words.join(" ")),
        );
        let dropout = dropouts(self.model.config());
        say(
            dropout != [0.1; 3],
            format!(
                "Dropout was {} (embeddings, attention, residuals), not 0.1.",
                dropout.map(|p| p.to_string()).join(", ")
            ),
        );
        say(
            settings.loss_over != Default::default(),
            "The first token of each post was left out of the loss.".into(),
        );
        let learning = &plan.learning;
        say(learning.epochs != EPOCHS, format!("{} epochs, not {EPOCHS}.", learning.epochs));
        say(learning.lr != LEARNING_RATE, format!("Learning rate {:e}, not {LEARNING_RATE:e}.", learning.lr));
        let blocks = settings.blocks_per_step();
        say(blocks != BATCH, format!("{blocks} blocks per step, not {BATCH}."));
        say(
            settings.context != DEFAULT_CONTEXT,
            format!("Blocks of {} tokens, not {DEFAULT_CONTEXT}.", settings.context),
        );
        match &plan.start {
            Start::Scratch { .. } => say(true, "A new network was trained, not GPT-2.".into()),
            Start::Base(_) => {
                let base = plan.base_name();
                let is_original = ORIGINAL_BASES.contains(&base.as_str());
                say(!is_original, format!("Training started from {base}, not from GPT-2 124M."));
            }
        }
        say(plan.dtype == CheckpointDtype::F16, "The weights are stored in 16-bit floats, not 32.".into());
        say(
            self.model.products() != "f32",
            format!("Matrix products were computed in {}, on a GPU.", self.model.products()),
        );
        say(
            ending == Ending::MaxSteps,
            format!("Training was stopped after step {} by --max-steps.", progress.step),
        );
        all
    }
}

/// Digest of an archive: of the file, or in an unpacked one of the files that are read.
fn archive(path: &Path) -> anyhow::Result<Artifact> {
    if !path.is_dir() {
        return Ok(Artifact::of_file(path)?);
    }
    let files = open::files_read(path).with_context(|| path.display().to_string())?;
    Ok(Artifact::of_files(path, &files)?)
}

/// The f64 with the same decimal notation as the f32: 0.1, not 0.10000000149011612.
fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

fn dropouts(config: &Config) -> [f32; 3] {
    [config.embd_pdrop, config.attn_pdrop, config.resid_pdrop]
}

/// The digest, or the name of an artifact without files.
fn digest(artifact: &Artifact) -> &str {
    artifact.sha256.as_deref().unwrap_or(&artifact.name)
}

fn network(config: &Config) -> String {
    format!(
        "{} layers, {} channels, {} heads, {} positions, {} tokens",
        config.n_layer, config.n_embd, config.n_head, config.n_positions, config.vocab_size
    )
}

//! Arguments of `train`, and the checked plan made from them.

use std::path::{Path, PathBuf};

use crate::{
    bundle::{checkpoint::CheckpointDtype, folder},
    cli::{UsageError, convert, filter_args::FilterArgs, words},
    gpt2::names,
    train::{
        device,
        recipe::{LossOver, Recipe},
        scratch::Shape,
    },
    tweets::Filter,
};

/// Default block length: GPT-2's full context.
pub const DEFAULT_CONTEXT: usize = 1024;
/// Default context of a new network: posts are short.
const SCRATCH_CONTEXT: usize = 160;
/// The original's hyper-parameters.
pub const EPOCHS: usize = 4;
pub const LEARNING_RATE: f64 = 1.372e-4;
pub const BATCH: usize = 1;
/// Maximum number of epochs. The length of the whole text is limited too.
const MAX_EPOCHS: usize = 100_000;
/// Number of evaluations and of checkpoints in a run, by default.
pub const PARTS: usize = 10;
/// Maximum of all other sizes: more than any GPT-2 has, and so small that products of sizes do not
/// overflow.
const MAX_SIZE: usize = 1 << 20;
/// A GPU if there is one, else the CPU.
const DEFAULT_DEVICE: &str = "auto";
/// Evaluations in a row without improvement after which a run ends.
const PATIENCE: usize = 2;

#[derive(Debug, Clone, clap::Args)]
#[command(args_override_self = true, after_help = Recipe::help())]
pub struct Args {
    /// X, Mastodon and Bluesky archives, .txt (one post per line), .csv (column text or full_text), .jsonl ({"text"}); several make one bot
    #[arg(required_unless_present = "resume", value_name = "ARCHIVE")]
    pub archives: Vec<PathBuf>,
    /// The bot to write
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    pub out: Option<PathBuf>,
    /// Replace an existing --out, and any run in its folder (--run), finished or not
    #[arg(long)]
    pub force: bool,
    /// What to start from: gpt2, a repository on the Hub, a folder, or scratch (a small new GPT-2) [default: gpt2]
    #[arg(long, value_name = "gpt2|REPO|DIR|scratch")]
    pub base: Option<String>,
    /// classic reproduces the original exactly; modern makes the changes listed below
    #[arg(long, default_value = "modern", value_parser = Recipe::NAMES)]
    pub recipe: String,
    /// Display name [default: the archives' own, joined by " & "]
    #[arg(long)]
    pub name: Option<String>,
    /// A sentence shown with the bot, for example that its account is fictional
    #[arg(long)]
    pub notice: Option<String>,
    /// How model.safetensors stores the weights [default: f32; f16 from scratch]
    #[arg(long, value_parser = ["f32", "f16"])]
    pub dtype: Option<String>,
    /// Print one JSON object at the end
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub learning: LearningArgs,
    #[command(flatten)]
    pub keeping: KeepingArgs,
    #[command(flatten)]
    pub scratch: ScratchArgs,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Optimisation")]
pub struct LearningArgs {
    /// Passes over the training posts
    #[arg(long, default_value_t = EPOCHS)]
    pub epochs: usize,
    /// Learning rate of the first step; falls to 0 along a cosine
    #[arg(long, default_value_t = LEARNING_RATE)]
    pub lr: f64,
    /// Blocks per batch
    #[arg(long, default_value_t = BATCH)]
    pub batch: usize,
    /// Batches whose gradients are accumulated for one step
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub accumulate: usize,
    /// Recompute activations in the backward pass: less memory, a third more compute, the same result
    #[arg(long)]
    pub checkpoint_activations: bool,
    /// Tokens per block [default: 1024, or the base's positions if fewer]
    #[arg(long)]
    pub context: Option<usize>,
    /// Seed of shuffles, dropout and new weights: one seed, one result
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Dropout while training [default: the base's; classic, and from scratch: 0.1]
    #[arg(long, value_name = "P")]
    pub dropout: Option<f32>,
    /// Which tokens count towards the loss, in training and on held-out posts: all, or all but the first token of each post
    #[arg(long, value_name = "TOKENS", default_value = "all", value_parser = LossOver::NAMES)]
    pub loss_over: String,
    /// Device: cuda (an NVIDIA GPU, in builds with that feature), cpu, or auto (a GPU if there is one)
    #[arg(long, default_value = DEFAULT_DEVICE, value_parser = device::NAMES)]
    pub device: String,
    /// Stop after this many steps, for a trial
    #[arg(long)]
    pub max_steps: Option<usize>,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Evaluation and checkpoints")]
pub struct KeepingArgs {
    /// Fraction of each account's posts held out for evaluation; 0 for none [default: 0.05; classic: 0]
    #[arg(long, value_name = "SHARE")]
    pub held_out: Option<f64>,
    /// Steps between evaluations on the held-out posts [default: a tenth of the run]
    #[arg(long, value_name = "N")]
    pub eval_every: Option<usize>,
    /// Stop after this many evaluations in a row without improvement [default: 2]
    #[arg(long, value_name = "N")]
    pub patience: Option<usize>,
    /// Steps between checkpoints; Ctrl-C writes one, too [default: a tenth of the run]
    #[arg(long, value_name = "N")]
    pub save_every: Option<usize>,
    /// Folder for the run's record, and for its checkpoint until the bot is written; not within OUT [default: OUT.run]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Resume the run in this folder; archives are needed only if they have moved, and options given must match the original run
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "With --base scratch")]
pub struct ScratchArgs {
    /// Maximum size of the new vocabulary [default: 2048]
    #[arg(long)]
    pub vocab_size: Option<usize>,
    /// Layers [default: 5]
    #[arg(long)]
    pub layers: Option<usize>,
    /// Channels [default: 224]
    #[arg(long)]
    pub channels: Option<usize>,
    /// Attention heads [default: 7]
    #[arg(long)]
    pub heads: Option<usize>,
}

impl ScratchArgs {
    /// Name of the first option that is given, if any.
    fn given(&self) -> Option<&'static str> {
        let options = [
            ("--vocab-size", self.vocab_size),
            ("--layers", self.layers),
            ("--channels", self.channels),
            ("--heads", self.heads),
        ];
        options.into_iter().find_map(|(name, value)| value.map(|_| name))
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size.unwrap_or(2048)
    }

    /// (layers, channels, heads).
    fn shape(&self) -> (usize, usize, usize) {
        (self.layers.unwrap_or(5), self.channels.unwrap_or(224), self.heads.unwrap_or(7))
    }
}

/// What training starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A repository on the Hub or a folder, as given.
    Base(String),
    /// A new network of (layers, channels, heads), and the maximum size of its vocabulary.
    Scratch { shape: (usize, usize, usize), vocab_size: usize },
}

/// Arguments that have been checked and are consistent.
#[derive(Debug, Clone)]
pub struct Plan {
    pub archives: Vec<PathBuf>,
    pub out: PathBuf,
    pub force: bool,
    /// Folder of record and checkpoints.
    pub run: PathBuf,
    /// Whether to resume the run in that folder.
    pub resume: bool,
    pub start: Start,
    pub recipe: Recipe,
    pub filter: Filter,
    /// The filter's options as typed.
    pub filter_words: Vec<String>,
    /// Fraction of posts, 0 to 1.
    pub held_out: f64,
    pub loss_over: LossOver,
    /// `None` for the base's own.
    pub dropout: Option<f32>,
    pub learning: LearningArgs,
    pub eval_every: Option<usize>,
    pub patience: usize,
    pub save_every: Option<usize>,
    pub name: Option<String>,
    pub notice: Option<String>,
    pub dtype: CheckpointDtype,
    pub json: bool,
}

impl Args {
    /// Checks each setting, and that they are consistent.
    ///
    /// # Errors
    /// A [`UsageError`] that names the option.
    pub fn plan(self) -> anyhow::Result<Plan> {
        let recipe = Recipe::from_name(&self.recipe).unwrap_or_default();
        self.check()?;
        if recipe == Recipe::Classic {
            self.check_classic()?;
        }
        let Some(out) = self.out else {
            return Err(UsageError("--out is missing: it names the bot to write".into()).into());
        };
        let resume = self.keeping.resume.is_some();
        let run = self.keeping.resume.or(self.keeping.run).unwrap_or_else(|| beside(&out));
        let filter = self.filter.filter()?;
        let start = match self.base.as_deref().unwrap_or("gpt2") {
            "scratch" => {
                Start::Scratch { shape: self.scratch.shape(), vocab_size: self.scratch.vocab_size() }
            }
            base => Start::Base(base.into()),
        };
        let dtype = convert::dtype(self.dtype.as_deref().unwrap_or(start.default_dtype()));
        Ok(Plan {
            archives: self.archives,
            out,
            force: self.force,
            run,
            resume,
            start,
            recipe,
            filter_words: self.filter.words(),
            filter,
            held_out: self.keeping.held_out.unwrap_or(recipe.held_out()),
            loss_over: LossOver::from_name(&self.learning.loss_over).unwrap_or_default(),
            dropout: self.learning.dropout.or(recipe.dropout()),
            learning: self.learning,
            eval_every: self.keeping.eval_every,
            patience: self.keeping.patience.unwrap_or(PATIENCE),
            save_every: self.keeping.save_every,
            name: self.name,
            notice: self.notice,
            dtype,
            json: self.json,
        })
    }

    fn check(&self) -> Result<(), UsageError> {
        let (learning, keeping) = (&self.learning, &self.keeping);
        let (vocab_size, (layers, channels, heads)) = (self.scratch.vocab_size(), self.scratch.shape());
        if self.base.as_deref() != Some("scratch")
            && let Some(option) = self.scratch.given()
        {
            return Err(UsageError(format!("{option} describes a new network: it needs --base scratch")));
        }
        let over_0 = |setting: Option<usize>| setting.is_none_or(|n| n > 0);
        let small = |setting: usize| setting <= MAX_SIZE;
        for (ok, problem) in [
            (learning.epochs > 0, "--epochs must be at least 1"),
            (learning.epochs <= MAX_EPOCHS, "--epochs must be at most 100000"),
            (learning.batch > 0, "--batch must be at least 1"),
            (learning.accumulate > 0, "--accumulate must be at least 1"),
            (learning.lr > 0.0 && learning.lr.is_finite(), "--lr must be over 0"),
            (
                learning.dropout.is_none_or(|p| (0.0..1.0).contains(&p)),
                "--dropout must be at least 0 and under 1",
            ),
            (learning.context.is_none_or(|c| c >= 2), "--context must be at least 2"),
            (
                keeping.held_out.is_none_or(|share| (0.0..1.0).contains(&share)),
                "--held-out must be at least 0 and under 1",
            ),
            (over_0(learning.max_steps), "--max-steps must be at least 1"),
            (over_0(keeping.eval_every), "--eval-every must be at least 1"),
            (over_0(keeping.patience), "--patience must be at least 1"),
            (over_0(keeping.save_every), "--save-every must be at least 1"),
            (vocab_size >= 257, "--vocab-size must be at least 257"),
            (layers > 0 && channels > 0 && heads > 0, "--layers, --channels and --heads must be at least 1"),
            (layers <= names::MAX_LAYERS, "--layers must be at most 4096"),
            (
                small(channels) && small(vocab_size) && learning.context.is_none_or(small),
                "--channels, --vocab-size and --context must be at most 1048576",
            ),
            (channels.is_multiple_of(heads.max(1)), "--channels must be a multiple of --heads"),
            // Not left to clap, because the command that began a resumed run may contain --run.
            (
                keeping.run.is_none() || keeping.resume.is_none(),
                "--resume already names the run's folder: leave out --run",
            ),
        ] {
            if !ok {
                return Err(UsageError(problem.into()));
            }
        }
        Ok(())
    }

    /// Refuses options that the original does not have.
    fn check_classic(&self) -> Result<(), UsageError> {
        let keeping = &self.keeping;
        let filters = self.filter.words();
        for (given, option) in [
            (keeping.held_out.is_some_and(|share| share > 0.0), "--held-out"),
            (keeping.eval_every.is_some(), "--eval-every"),
            (keeping.patience.is_some(), "--patience"),
            (self.learning.loss_over != "all", "--loss-over"),
            (!filters.is_empty(), filters.first().and_then(|f| f.split(' ').next()).unwrap_or_default()),
        ] {
            if given {
                return Err(UsageError(format!(
                    "{option} is not available with --recipe classic, which reproduces the original: drop it or use --recipe modern"
                )));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// The base's name, without folders of this machine.
    pub fn base_name(&self) -> String {
        match &self.start {
            Start::Scratch { .. } => "scratch".into(),
            Start::Base(base) if Path::new(base).exists() => folder::folder_name(Path::new(base)),
            Start::Base(base) => base.clone(),
        }
    }

    /// Size of a new network.
    pub fn shape(&self, (layers, channels, heads): (usize, usize, usize)) -> Shape {
        let positions = self.learning.context.unwrap_or(SCRATCH_CONTEXT);
        Shape { layers, channels, heads, positions }
    }

    /// The shell command that reproduces this bot, with file names only.
    pub fn command_line(&self) -> String {
        let learning = &self.learning;
        let mut line = words::Line::new("huggingtweets train");
        self.archives.iter().for_each(|path| line.file(&folder::folder_name(path)));
        line.option("--out", folder::folder_name(&self.out));
        line.option("--base", self.base_name());
        line.option("--recipe", self.recipe.name());
        line.option("--epochs", learning.epochs);
        line.option("--lr", format!("{:e}", learning.lr));
        line.option("--batch", learning.batch);
        line.option("--seed", learning.seed);
        if learning.accumulate > 1 {
            line.option("--accumulate", learning.accumulate);
        }
        if learning.checkpoint_activations {
            line.flag("--checkpoint-activations");
        }
        line.maybe("--context", learning.context);
        line.maybe("--dropout", learning.dropout);
        if self.loss_over != LossOver::default() {
            line.option("--loss-over", &learning.loss_over);
        }
        if learning.device != DEFAULT_DEVICE {
            line.option("--device", &learning.device);
        }
        line.maybe("--max-steps", learning.max_steps);
        if self.held_out != self.recipe.held_out() {
            line.option("--held-out", self.held_out);
        }
        line.maybe("--eval-every", self.eval_every);
        if self.patience != PATIENCE {
            line.option("--patience", self.patience);
        }
        self.filter_words.iter().for_each(|words| line.flag(words));
        if let Start::Scratch { shape: (layers, channels, heads), vocab_size } = self.start {
            line.option("--vocab-size", vocab_size);
            line.option("--layers", layers);
            line.option("--channels", channels);
            line.option("--heads", heads);
        }
        if self.dtype != convert::dtype(self.start.default_dtype()) {
            line.option("--dtype", self.dtype_name());
        }
        line.maybe("--name", self.name.as_deref());
        line.maybe("--notice", self.notice.as_deref());
        line.into_text()
    }

    /// How the weights are stored, as a value of `--dtype`.
    pub fn dtype_name(&self) -> &'static str {
        match self.dtype {
            CheckpointDtype::F32 => "f32",
            CheckpointDtype::F16 => "f16",
        }
    }
}

impl Start {
    /// Default of `--dtype`: a new network is stored small, because it is meant to be shared.
    fn default_dtype(&self) -> &'static str {
        match self {
            Self::Scratch { .. } => "f16",
            Self::Base(_) => "f32",
        }
    }
}

/// `bot.run` for `bot`.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".run");
    out.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Train {
        #[command(flatten)]
        args: Args,
    }

    fn plan(words: &str) -> anyhow::Result<Plan> {
        let words = ["train"].into_iter().chain(words.split(' '));
        Train::try_parse_from(words)?.args.plan()
    }

    #[test]
    fn classics_settings_are_the_documents() {
        let plan = plan("a.zip --out bot --recipe classic").unwrap();
        let learning = &plan.learning;
        assert_eq!((learning.epochs, learning.batch, learning.accumulate), (4, 1, 1));
        assert_eq!(learning.lr, 1.372e-4);
        assert_eq!((plan.dropout, plan.held_out), (Some(0.1), 0.0));
        assert_eq!(learning.context.unwrap_or(DEFAULT_CONTEXT), 1024);
        assert_eq!(plan.loss_over, LossOver::All);
        assert!(plan.filter == Filter::default() && !plan.recipe.drops_duplicates());
        assert_eq!(plan.start, Start::Base("gpt2".into()));
        assert_eq!(crate::train::optimizer::CLIP, 1.0);
    }

    #[test]
    fn what_the_original_had_not_is_refused_with_classic() {
        for option in ["--eval-every 5", "--patience 1", "--held-out 0.1", "--lang en", "--min-chars 9"] {
            let error = plan(&format!("a.zip --out bot --recipe classic {option}")).unwrap_err();
            assert!(error.is::<UsageError>(), "{error}");
            assert!(error.to_string().contains(option.split(' ').next().unwrap()), "{error}");
            plan(&format!("a.zip --out bot {option}")).unwrap();
        }
        plan("a.zip --out bot --recipe classic --held-out 0").unwrap();
    }

    #[test]
    fn modern_is_the_default_and_holds_posts_out() {
        let plan = plan("a.zip b.csv --out some/bot").unwrap();
        assert_eq!((plan.recipe, plan.held_out, plan.dropout), (Recipe::Modern, 0.05, None));
        assert_eq!(plan.run, Path::new("some/bot.run"));
        assert_eq!(plan.archives.len(), 2);
    }

    #[test]
    fn settings_that_cannot_be_are_usage_errors() {
        for option in [
            "--epochs 0",
            "--epochs 100000000",
            "--accumulate 0",
            "--held-out 1",
            "--held-out -1",
            "--max-steps 0",
            "--eval-every 0",
            "--patience 0",
            "--save-every 0",
            "--recipe best",
            "--base scratch --heads 5",
            "--base scratch --layers 100000000",
            "--base scratch --channels 70000000",
            "--context 4294967296",
        ] {
            assert!(plan(&format!("a.zip --out bot {option}")).is_err(), "{option}");
        }
        assert!(plan("a.zip").is_err() && plan("--out bot").is_err());
    }

    #[test]
    fn the_shape_of_a_new_network_needs_one() {
        for option in ["--vocab-size 300", "--layers 2", "--channels 32", "--heads 4"] {
            let name = option.split(' ').next().unwrap();
            for base in ["", " --base gpt2"] {
                let error = plan(&format!("a.zip --out bot {option}{base}")).unwrap_err();
                assert!(error.is::<UsageError>(), "{error}");
                assert!(error.to_string().contains(&format!("{name} describes a new network")), "{error}");
            }
        }
        let start = plan("a.zip --out bot --base scratch --layers 2").unwrap().start;
        assert_eq!(start, Start::Scratch { shape: (2, 224, 7), vocab_size: 2048 });
    }

    #[test]
    fn a_run_has_one_folder() {
        let error = plan("a.zip --out bot --resume a.run --run b.run").unwrap_err();
        assert!(error.is::<UsageError>() && error.to_string().contains("leave out --run"), "{error}");
    }

    /// The words that a shell makes of a command line, without the program's name.
    #[cfg(unix)]
    fn shell_words(line: &str) -> Vec<String> {
        let script = format!("printf '%s\\0' {line}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim_end_matches('\0').split('\0').skip(1).map(str::to_owned).collect()
    }

    #[cfg(unix)]
    #[test]
    fn the_printed_command_is_the_same_plan_again() {
        for line in [
            "a.zip --out bot",
            "a.zip b.csv --out bot --base scratch --layers 2 --channels 32 --heads 4 --vocab-size 300 --dtype f32",
            "a.zip --out bot --recipe classic --context 64 --device cpu --max-steps 3 --checkpoint-activations",
            "a.zip --out bot --accumulate 2 --dropout 0.25 --loss-over within-posts --held-out 0.1 --eval-every 7 \
             --patience 3 --since 2019-01-02 --lang en,pt-br --no-replies --min-chars 30 --dtype f16",
        ] {
            let first = plan(&line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
            let printed = first.command_line();
            let again = Train::try_parse_from(shell_words(&printed)).unwrap().args.plan().unwrap();
            assert_eq!(format!("{first:?}"), format!("{again:?}"), "{printed}");
        }
        let words = [
            "train",
            "/x/my posts.zip",
            "/x/-odd.csv",
            "--out",
            "/y/it's a bot",
            "--name=-- The \"Keeper\" $HOME",
        ];
        let first = Train::try_parse_from(words.iter().chain(&["--notice", "No one's."]))
            .unwrap()
            .args
            .plan()
            .unwrap();
        let printed = first.command_line();
        let again = Train::try_parse_from(shell_words(&printed)).unwrap().args.plan().unwrap();
        assert_eq!((&again.name, &again.notice), (&first.name, &first.notice), "{printed}");
        assert_eq!(again.archives, [Path::new("my posts.zip"), Path::new("./-odd.csv")], "{printed}");
        assert_eq!(again.out, Path::new("it's a bot"));
        assert!(!printed.contains("/x") && !printed.contains("/y"), "{printed}");
    }

    #[test]
    fn the_later_of_two_values_counts() {
        assert_eq!(plan("a.zip --out bot --lr 1 --lr 2").unwrap().learning.lr, 2.0);
    }
}

//! The command; everything is in [`huggingtweets::cli`].

fn main() -> std::process::ExitCode {
    huggingtweets::cli::main()
}

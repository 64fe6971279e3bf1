//! The command. Everything is in [`huggingtweets::cli`].

fn main() -> std::process::ExitCode {
    huggingtweets::cli::main()
}

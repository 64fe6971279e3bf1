//! Turns typed states and errors into sentences.

use super::{
    bots::address::NoAddress,
    hub::HubProblem,
    link::Verdict,
    query::BadParameter,
    state::{Alert, Doing, Problem, Status, Why},
    word::Word,
    words::{Language, Words},
};
use crate::web::protocol::{BackendChoice, Because, FailureKind, NotKept, Phase};

/// The product's name.
pub const TITLE: &str = "huggingtweets";

/// Another program's sentence in English, under a heading in the visitor's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub heading: Option<String>,
    pub english: Option<String>,
}

/// `1234567` as `1,234,567`, or with the language's own separator.
pub fn thousands(n: usize, language: Language) -> String {
    let mark = match language {
        Language::English | Language::Japanese => ',',
        Language::Spanish | Language::German | Language::Portuguese => '.',
        Language::French => '\u{202f}',
    };
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(mark);
        }
        text.push(digit);
    }
    text
}

/// A number with `digits` decimals, after the language's own decimal mark.
pub fn decimal(number: f64, digits: usize, language: Language) -> String {
    let text = format!("{number:.digits$}");
    match language {
        Language::English | Language::Japanese => text,
        Language::Spanish | Language::French | Language::German | Language::Portuguese => {
            text.replace('.', ",")
        }
    }
}

/// A size: `5.1 MB`, or `22 kB` where megabytes would hide it.
pub fn size(bytes: u64, language: Language) -> String {
    // French counts octets.
    let unit = if language == Language::French { 'o' } else { 'B' };
    match bytes {
        0 => format!("0 k{unit}"),
        1..999_500 => format!("{} k{unit}", ((bytes + 500) / 1000).max(1)),
        _ => format!("{} M{unit}", decimal(bytes as f64 / 1e6, 1, language)),
    }
}

pub fn status(words: &Words, status: &Status) -> String {
    match status {
        Status::NotRunning => words[Word::NotRunning].into(),
        Status::Loading { phase, total_bytes, percent, waits, gpu_lost } => {
            let size = total_bytes.map(|bytes| size(bytes, words.language)).unwrap_or_default();
            let percent_text = percent.map(|p| p.to_string()).unwrap_or_default();
            let word = match phase {
                Phase::Engine => Word::DownloadingEngine,
                Phase::Description => Word::Starting,
                Phase::Check => Word::Checking,
                Phase::Measure => Word::Timing,
                Phase::Waiting => Word::OtherTab,
                Phase::Cache => Word::FromDevice,
                Phase::Download if percent.is_some() => Word::DownloadingPart,
                Phase::Download if total_bytes.is_some() => Word::DownloadingSize,
                Phase::Download => Word::Downloading,
            };
            let phase = words.fill(word, &[("size", &size), ("percent", &percent_text)]);
            let phase = match gpu_lost {
                true => format!("{phase}: {}", &words[Word::GpuLost]),
                false => phase,
            };
            if *waits { words.fill(Word::ThenDrafts, &[("phase", &phase)]) } else { phase }
        }
        Status::Engine { backend, threads, doing, because, not_kept } => {
            let engine = engine(words, backend, *threads);
            let doing = match doing {
                Doing::Nothing => format!("{engine}, {}", &words[Word::Ready]),
                Doing::Writing => format!("{engine}, {}", &words[Word::Writing]),
                Doing::Wrote { tokens_per_s } => {
                    let speed = speed(*tokens_per_s, words.language);
                    format!("{engine}, {}", words.fill(Word::Speed, &[("n", &speed)]))
                }
            };
            let doing = match because {
                Some(why) => format!("{doing} ({})", because_of(words, why)),
                None => doing,
            };
            match not_kept {
                Some(reason) => {
                    let reason = &words[why_not_kept(*reason)];
                    format!("{doing}; {}", words.fill(Word::NotKept, &[("reason", reason)]))
                }
                None => doing,
            }
        }
    }
}

fn why_not_kept(reason: NotKept) -> Word {
    match reason {
        NotKept::Full => Word::StorageFull,
        NotKept::NoStorage => Word::NoStorage,
        NotKept::Undescribed => Word::Undescribed,
    }
}

/// `SIMD, 1 thread`, or `WebGPU`.
fn engine(words: &Words, backend: &str, threads: usize) -> String {
    if backend == BackendChoice::WebGpu.name() {
        return "WebGPU".into();
    }
    let word = if threads == 1 { Word::OneThread } else { Word::Threads };
    format!("{}, {}", backend.to_uppercase(), words.fill(word, &[("n", &threads.to_string())]))
}

/// Why an engine is used. A GPU's own error message is in the browser's English.
fn because_of(words: &Words, why: &Why) -> String {
    let timed = |word, gpu_ms: &f64, simd_ms: &f64| {
        let ms = |ms: &f64| decimal(*ms, 1, words.language);
        words.fill(word, &[("gpu", &ms(gpu_ms)), ("simd", &ms(simd_ms))])
    };
    match why {
        Why::GpuLost => words[Word::GpuLost].into(),
        Why::Chosen(Because::GpuQuicker { gpu_ms, simd_ms }) => timed(Word::GpuQuicker, gpu_ms, simd_ms),
        Why::Chosen(Because::SimdQuicker { gpu_ms, simd_ms }) => timed(Word::SimdQuicker, gpu_ms, simd_ms),
        Why::Chosen(Because::NoWebGpu) => words[Word::NoWebGpu].into(),
        Why::Chosen(Because::SoftwareGpu) => words[Word::SoftwareGpu].into(),
        Why::Chosen(Because::WrongNumbers) => words[Word::WrongNumbers].into(),
        Why::Chosen(Because::GpuFailed(reason)) => reason.clone(),
    }
}

/// The label of each engine in the menu.
pub fn backend_choice(choice: BackendChoice) -> Word {
    match choice {
        BackendChoice::Auto => Word::EngineAuto,
        BackendChoice::WebGpu => Word::EngineGpu,
        BackendChoice::Simd => Word::EngineSimd,
        BackendChoice::Scalar => Word::EngineScalar,
    }
}

/// Below 10 tokens per second, one decimal.
fn speed(tokens_per_s: f64, language: Language) -> String {
    decimal(tokens_per_s, usize::from(tokens_per_s < 10.0), language)
}

/// The text of an alert. The engine's sentences name files and bytes and are in English: in other
/// languages the kind of failure precedes them.
pub fn alert(words: &Words, alert: &Alert) -> Said {
    let ours = |sentence: String| Said { heading: Some(sentence), english: None };
    let theirs = |word: Word, sentence: &str| Said {
        heading: (words.language != Language::English).then(|| words[word].to_owned()),
        english: Some(sentence.to_owned()),
    };
    match alert {
        Alert::Problem(Problem::Parameter(bad)) => ours(bad_parameter(words, bad)),
        Alert::Problem(Problem::Setting(bad)) => {
            let field = bad.setting.field();
            let values = [
                ("label", &words[field.label]),
                ("term", field.term),
                ("found", &bad.found),
                ("range", field.range),
            ];
            ours(words.fill(Word::BadSetting, &values))
        }
        Alert::Problem(Problem::AllPinned) => ours(words[Word::AllPinned].into()),
        Alert::Problem(Problem::Refused(sentence)) => theirs(Word::FailedRequest, sentence),
        Alert::Engine(failure) => {
            let word = match failure.kind {
                FailureKind::Network => Word::FailedNetwork,
                FailureKind::Damaged => Word::FailedDamaged,
                FailureKind::Model => Word::FailedModel,
                FailureKind::Gpu => Word::GpuFailed,
                FailureKind::Request => Word::FailedRequest,
                FailureKind::Crash => Word::Crashed,
            };
            theirs(word, &failure.message)
        }
        Alert::Lost(loss) => {
            Said { heading: Some(words[loss.word()].to_owned()), english: loss.detail().map(Into::into) }
        }
    }
}

pub fn bad_parameter(words: &Words, bad: &BadParameter) -> String {
    let values = [("name", bad.name.as_str()), ("value", &bad.value), ("expected", &bad.expected)];
    words.fill(Word::BadParameter, &values)
}

/// The parts of a sentence before and after a place, whose value is in a language of its own.
pub fn around(words: &Words, word: Word, values: &[(&str, &str)], place: &str) -> (String, String) {
    let sentence = words.fill(word, values);
    match sentence.split_once(&format!("{{{place}}}")) {
        Some((before, after)) => (before.to_owned(), after.to_owned()),
        None => (sentence, String::new()),
    }
}

/// Whether the draft on a card is the one that a link promised.
pub fn verdict(words: &Words, (card, verdict): (usize, Verdict)) -> String {
    let word = match verdict {
        Verdict::Same => Word::SharedSame,
        Verdict::OtherBot => Word::SharedOtherBot,
        Verdict::OtherEngine => Word::SharedOtherEngine,
        Verdict::OtherDraft => Word::SharedOtherDraft,
        Verdict::Unknown => Word::SharedUnknown,
    };
    words.fill(word, &[("n", &(card + 1).to_string())])
}

/// Why what was pasted is not a bot's address.
pub fn no_address(words: &Words, text: &str, reason: NoAddress) -> String {
    let word = match reason {
        NoAddress::Unreadable => Word::BadAddress,
        NoAddress::Insecure => Word::InsecureAddress,
        NoAddress::NoModel => Word::HubNoModel,
    };
    words.fill(word, &[("text", text)])
}

pub fn hub_problem(words: &Words, repository: &str, problem: &HubProblem) -> String {
    let word = match problem {
        HubProblem::Missing => Word::HubMissing,
        HubProblem::Unreachable => Word::HubUnreachable,
        HubProblem::NoGguf => Word::HubNoGguf,
    };
    words.fill(word, &[("repository", repository)])
}

#[cfg(test)]
mod tests {
    use super::super::{
        settings::{BadSetting, Setting},
        worker_loss::WorkerLoss,
    };
    use super::*;
    use crate::web::protocol::Failure;

    #[test]
    fn the_status_names_engine_and_speed() {
        let words = Words::english();
        let engine = |threads, doing| Status::Engine {
            backend: "simd".into(),
            threads,
            doing,
            because: None,
            not_kept: None,
        };
        assert_eq!(status(&words, &engine(1, Doing::Nothing)), "SIMD, 1 thread, ready");
        let wrote = |tokens_per_s| Doing::Wrote { tokens_per_s };
        assert_eq!(status(&words, &engine(1, wrote(212.4))), "SIMD, 1 thread, 212 tokens/s");
        assert_eq!(status(&words, &engine(4, wrote(2.04))), "SIMD, 4 threads, 2.0 tokens/s");
        let loading = Status::Loading {
            phase: Phase::Download,
            total_bytes: Some(100_000_000),
            percent: Some(50),
            waits: true,
            gpu_lost: false,
        };
        let expected = "Downloading the bot, 50% of 100.0 MB; the drafts start when it is ready";
        assert_eq!(status(&words, &loading), expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_it_may_be() {
        let words = Words::english();
        let bad = BadSetting { setting: Setting::TopP, found: "7".into() };
        let sentence = alert(&words, &Alert::Problem(Problem::Setting(bad))).heading.unwrap();
        assert!(sentence.contains("top_p") && sentence.contains("7") && sentence.contains("0 < p ≤ 1"));
        let bad =
            BadParameter { name: "precision".into(), value: "f32".into(), expected: "q8_0, q4_0".into() };
        let said = alert(&words, &Alert::Problem(Problem::Parameter(bad))).heading.unwrap();
        assert_eq!(said, "The address has precision=f32; precision must be: q8_0, q4_0.");
    }

    #[test]
    fn the_engines_english_stands_under_a_heading_in_the_readers_language() {
        let failure = Failure { kind: FailureKind::Network, message: "No.".into(), retryable: true };
        let said = alert(&Words::english(), &Alert::Engine(failure.clone()));
        assert_eq!(said, Said { heading: None, english: Some("No.".into()) });
        let mut german = Words::english();
        german.language = Language::German;
        assert!(alert(&german, &Alert::Engine(failure)).heading.is_some());
        let refused = Failure { kind: FailureKind::Crash, message: "No.".into(), retryable: true };
        let said = alert(&german, &Alert::Engine(refused));
        assert_eq!(said.heading.as_deref(), Some(&german[Word::Crashed]));
        assert_eq!(said.english.as_deref(), Some("No."));
    }

    #[test]
    fn a_lost_worker_is_said_by_the_page_and_its_last_words_are_english() {
        let words = Words::english();
        let said = alert(&words, &Alert::Lost(WorkerLoss::Died(Some("unreachable".into()))));
        let heading = Some(words[Word::Crashed].to_owned());
        assert_eq!(said, Said { heading, english: Some("unreachable".into()) });
        let silent = alert(&words, &Alert::Lost(WorkerLoss::Silent));
        assert_eq!(silent, Said { heading: Some(words[Word::Silent].into()), english: None });
    }

    #[test]
    fn small_files_have_a_size_and_decimals_the_languages_mark() {
        let sizes = |language| [0, 1, 22_400, 999_499, 999_500, 123_456_789].map(|n| size(n, language));
        let expected = ["0 kB", "1 kB", "22 kB", "999 kB", "1.0 MB", "123.5 MB"];
        assert_eq!(sizes(Language::English), expected);
        assert_eq!(size(5_140_000, Language::German), "5,1 MB");
        assert_eq!(size(5_140_000, Language::French), "5,1 Mo");
        assert_eq!(size(900, Language::French), "1 ko");
        assert_eq!(decimal(2.3456, 2, Language::Japanese), "2.35");
        let mut german = Words::english();
        german.language = Language::German;
        let doing = Doing::Wrote { tokens_per_s: 2.04 };
        let engine =
            Status::Engine { backend: "simd".into(), threads: 1, doing, because: None, not_kept: None };
        assert_eq!(status(&german, &engine), "SIMD, 1 thread, 2,0 tokens/s");
    }

    #[test]
    fn a_value_in_another_language_stands_apart() {
        let words = Words::english();
        let parts = |word, place| around(&words, word, &[("n", "2")], place);
        assert_eq!(parts(Word::Spoken, "text"), ("Draft 2: ".into(), String::new()));
        assert_eq!(parts(Word::PostLine, "bot"), (String::new(), ", an AI bot, wrote:".into()));
        assert_eq!(parts(Word::DraftLabel, "text"), ("Draft 2".into(), String::new()));
    }

    #[test]
    fn thousands_have_the_languages_mark() {
        assert_eq!(thousands(1_234_567, Language::English), "1,234,567");
        assert_eq!(thousands(1234, Language::German), "1.234");
        assert_eq!(thousands(12, Language::French), "12");
    }
}

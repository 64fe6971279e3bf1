//! Finds the bot in a repository on the Hugging Face Hub.

use serde::Deserialize;

use super::bots::Place;
use crate::web::protocol::Precision;

/// URL of the Hub's list of a repository's files.
pub fn api_url(repository: &str) -> String {
    format!("https://huggingface.co/api/models/{repository}")
}

/// Why a repository is not a bot for this page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubProblem {
    /// The Hub has no such repository, or it is not public.
    Missing,
    /// The Hub did not answer, or not in the expected form.
    Unreachable,
    /// It has neither a bundle for browsers nor a GGUF.
    NoGguf,
}

/// A question to the Hub, and the bot that was open when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub repository: String,
    pub open: Place,
}

impl Question {
    /// Whether its answer is still wanted: nothing has been asked or opened since.
    pub fn stands(&self, last: Option<&Self>, open: &Place) -> bool {
        last == Some(self) && self.open == *open
    }
}

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Finds the bot in a repository from the Hub's answer.
///
/// # Errors
/// If there is no such repository, no valid answer, or no bot in it.
pub fn find(repository: &str, status: u16, answer: &str, requested: Precision) -> Result<Place, HubProblem> {
    match status {
        200 => {}
        401 | 403 | 404 => return Err(HubProblem::Missing),
        _ => return Err(HubProblem::Unreachable),
    }
    let listed: Repository = serde_json::from_str(answer).map_err(|_| HubProblem::Unreachable)?;
    let files: Vec<&str> = listed.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let folder = format!("https://huggingface.co/{repository}/resolve/main/");
    if let Some(bundle) = Place::bundle(folder.clone(), requested, |name| files.contains(&name)) {
        return Ok(bundle);
    }
    let gguf = |file: &&&str| file.to_ascii_lowercase().ends_with(".gguf");
    let as_requested = |file: &&&str| gguf(file) && file.to_ascii_lowercase().contains(requested.name());
    let file =
        files.iter().find(as_requested).or_else(|| files.iter().find(gguf)).ok_or(HubProblem::NoGguf)?;
    Ok(Place::url(folder + &in_path(file)))
}

/// Escapes the characters of a file's name that would end a URL's path, or begin an escape in it.
/// Browsers escape the rest.
fn in_path(name: &str) -> String {
    name.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(files: &[&str]) -> String {
        let siblings: Vec<_> = files.iter().map(|f| serde_json::json!({ "rfilename": f })).collect();
        serde_json::json!({ "id": "a/b", "siblings": siblings }).to_string()
    }

    const FOLDER: &str = "https://huggingface.co/a/b/resolve/main/";

    fn found(files: &[&str]) -> Result<Place, HubProblem> {
        find("a/b", 200, &answer(files), Precision::Q8_0)
    }

    fn in_folder(file: &str) -> Result<Place, HubProblem> {
        Ok(Place::url(format!("{FOLDER}{file}")))
    }

    #[test]
    fn a_bundle_is_its_folder_and_else_a_gguf_is_the_bot() {
        assert_eq!(found(&["bot.json", "model-q4_0.gguf", "model-q8_0.gguf"]), in_folder(""));
        assert_eq!(found(&["x-f16.gguf", "x-Q8_0.gguf"]), in_folder("x-Q8_0.gguf"));
        assert_eq!(found(&["config.json", "x-f16.gguf"]), in_folder("x-f16.gguf"));
        assert_eq!(found(&["bot.json", "x-f16.gguf"]), in_folder("x-f16.gguf"));
    }

    #[test]
    fn a_bundle_of_other_weights_is_opened_with_those() {
        let place = found(&["bot.json", "model-q4_0.gguf"]).unwrap();
        assert_eq!((place.model.as_str(), place.precision), (FOLDER, Some(Precision::Q4_0)));
    }

    #[test]
    fn a_name_stays_in_its_path() {
        assert_eq!(found(&["100%/a#1?.gguf"]), in_folder("100%25/a%231%3F.gguf"));
        assert_eq!(found(&["a b%23.gguf"]), in_folder("a b%2523.gguf"));
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_known() {
        let place = |name: &str| Place::url(format!("https://{name}.example/"));
        let ask =
            |repository: &str, open: &str| Question { repository: repository.into(), open: place(open) };
        let question = ask("a/b", "here");
        assert!(question.stands(Some(&question.clone()), &place("here")));
        assert!(!question.stands(Some(&question), &place("elsewhere")), "another bot was opened");
        assert!(!question.stands(Some(&ask("c/d", "here")), &place("here")), "another was asked for");
    }

    #[test]
    fn what_is_no_bot_is_told_apart() {
        assert_eq!(found(&["pytorch_model.bin", "bot.json"]), Err(HubProblem::NoGguf));
        assert_eq!(find("a/b", 404, "", Precision::Q8_0), Err(HubProblem::Missing));
        assert_eq!(find("a/b", 401, "", Precision::Q8_0), Err(HubProblem::Missing));
        assert_eq!(find("a/b", 503, "", Precision::Q8_0), Err(HubProblem::Unreachable));
        assert_eq!(find("a/b", 200, "<html>", Precision::Q8_0), Err(HubProblem::Unreachable));
    }
}
